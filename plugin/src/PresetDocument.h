// A preset as the plugin sees it: the whole text, and the few fields that act without a server.
//
// The text (JSON, the same in the plugin's state, in files and over OSC) is the truth and is
// passed on whole; the plugin only reads what it needs to mix and to show. The server, not the
// plugin, judges whether prompts can be encoded.
//
// Immutable once made, so any thread may read one that it holds.
#pragma once

#include <juce_core/juce_core.h>

#include <memory>

namespace stembridge {

enum class Output { target, remainder, mix };
enum class Mode { live, mix, render };
enum class Side { keep, remove };

const char* toWord(Output output) noexcept;
const char* toWord(Mode mode) noexcept;
bool fromWord(const juce::String& word, Output& into) noexcept;
bool fromWord(const juce::String& word, Mode& into) noexcept;

// Gains at or below this many dB are off.
constexpr float kOffDb = -60.0f;
float gainFromDb(float db) noexcept;  // linear; 0 at or below kOffDb

class PresetDocument {
public:
    using Ptr = std::shared_ptr<const PresetDocument>;

    // The preset in `text`, or null with a sentence for people in `problem`.
    static Ptr parse(const juce::String& text, juce::String& problem);

    // The one that is used when there is nothing better: keeps the vocals.
    static Ptr fallback();

    juce::String text;  // canonical enough: exactly what was parsed
    juce::String name;
    juce::String group;
    juce::String description;
    juce::String keep;    // prompts for people, separated by commas
    juce::String remove;  //
    juce::String separator = "unet";
    Output output = Output::target;
    Mode mode = Mode::mix;
    // A short preset that the server can tell the delay from before there is a session: of the same
    // separator and options, and prompts where these choose the separator. Empty if the
    // separator's name says it all, or the prompts are too much for one message.
    juce::String latencyText;
    bool hasOwnMode = false;
    bool hasEffects = false;
    float targetDb = 0.0f;
    float remainderDb = 0.0f;

    // A copy whose prompts of one side are `words` (separated by commas). Entries that are no
    // words (examples, tuned vectors) stay as long as their label is among the words.
    Ptr withPrompts(Side side, const juce::String& words) const;
    // A copy with the prompts of another text (as the server understood or learned them), and what
    // is said about them.
    bool asksLike(const PresetDocument& other) const;  // the same prompts, of the same name
    Ptr withPromptsOf(const PresetDocument& other) const;
    Ptr withName(const juce::String& newName) const;
    // The text that is sent to the server: output, gains and mode as they are in effect.
    juce::String effectiveText(Output output, float targetDb, float remainderDb, Mode mode) const;

private:
    juce::var root;

    static Ptr fromRoot(const juce::var& root, juce::String& problem);
};

}  // namespace stembridge
