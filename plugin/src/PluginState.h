// What a project keeps: the whole preset and the settings, as versioned UTF-8 JSON.
//
// Invariants: reading never throws and never fails; a state that is damaged, foreign or too new
// becomes the factory default with a sentence in `problem`, and a single wrong field becomes its
// default. The same settings always give the same bytes.
#pragma once

#include "PresetDocument.h"

#include <map>

namespace stembridge {

enum class Waiting { automatic, never, always };
const char* toWord(Waiting waiting) noexcept;

// Choices of the host parameters; 0 leaves it to the preset.
struct PluginState {
    PresetDocument::Ptr preset;  // never null after read()
    int outputChoice = 0;        // 0 preset, 1 target, 2 remainder, 3 mix
    int modeChoice = 0;          // 0 preset, 1 live, 2 mix, 3 render
    float targetDb = 0.0f;       // trims on top of the preset's gains
    float remainderDb = 0.0f;
    bool bypass = false;
    Waiting waiting = Waiting::automatic;
    double editorScale = 1.0;                    // 1 to 2
    std::map<juce::String, int> latencySamples;  // last known, by "separator mode rate"
    juce::String problem;                        // empty, or why this is not what was saved

    juce::MemoryBlock write() const;
    static PluginState read(const void* data, int size);
};

// JSON that may come from anywhere: refuses broken UTF-8 and deep nesting (the parser recurses).
bool parseUntrusted(const void* data, size_t size, juce::var& into);

}  // namespace stembridge
