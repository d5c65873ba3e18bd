// The factory presets, embedded when the plugin is built, in fixed slots.
//
// A slot is a value of the host's "Preset" parameter, so it must never move: preset_slots.txt
// lists the files in order and only ever grows. Slot 0 of the parameter means "what the state
// carries"; entry i of this list is slot i + 1.
#pragma once

#include "PresetDocument.h"

#include <vector>

namespace stembridge {

constexpr int kPresetSlots = 128;  // values of the parameter, most of them still free

// Parsed once per process, on first use, not on the audio thread.
const std::vector<PresetDocument::Ptr>& factoryPresets();

// The list entry with exactly this content, or -1.
int factoryIndexOf(const PresetDocument& preset);
int factoryIndexOf(const juce::String& name);

}  // namespace stembridge
