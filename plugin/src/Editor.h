// The editor: layout and the flow of what is shown; parts live in editor/.
//
// The content has one size and is scaled as a whole from 100 to 200 %. A timer copies what the
// server and the audio core report, thirty times a second, and shows it; the widgets never guess.
#pragma once

#include "Processor.h"
#include "editor/Learning.h"
#include "editor/Spectrogram.h"
#include "editor/StatusWords.h"
#include "editor/Widgets.h"

namespace stembridge {

class Editor final : public juce::AudioProcessorEditor, private juce::Timer {
public:
    explicit Editor(Processor& processor);
    ~Editor() override;
    void resized() override;
    void paint(juce::Graphics& g) override;

private:
    // Everything visible, laid out at 100 %.
    struct Content final : juce::Component {
        explicit Content(Editor& owner) : editor(owner) {}
        void paint(juce::Graphics& g) override { editor.paintContent(g); }
        void resized() override { editor.layOut(); }
        Editor& editor;
    };

    void timerCallback() override;
    void layOut();
    void turnTo(bool learn);
    void paintContent(juce::Graphics& g);
    void showPresetMenu();
    void showSettingsMenu();
    void stepPreset(int step);
    void save();
    void askName(const juce::String& suggestion);
    void commitPrompts(Side side, const juce::String& words);
    bool isUserPreset(const juce::String& name) const;

    Processor& processor;
    Look look;
    Content content;
    juce::TextButton preset, previous, next, saveButton{"Save"},
        saveAsButton{juce::String::fromUTF8("Save as…")}, settings, action;
    PromptField keep{"Keep", juce::String::fromUTF8("vocals, drums…"), colours::keep};
    PromptField remove{"Remove", juce::String::fromUTF8("nothing, or: drums, bass…"),
                       colours::remove};
    DropZone drop;
    Spectrogram picture;
    Meters meters;
    Segments output{
        "Output",
        {"Solo", "Remove", "Mix"},
        {"Hear only what is kept", "Hear everything else", "Hear both, with the two gains"}};
    Segments mode{"Mode",
                  {"Live", "Mix", "Render"},
                  {"Least delay, for playing along", "Better sound, for playback in a project",
                   "Best sound and long delay, for the final bounce"}};
    GainKnob targetGain, remainderGain;
    NamePanel namePanel;
    Learning learning;
    Segments pages{"Page",
                   {"Prompt", "Learn"},
                   {"What to keep and to remove", "Learn a sound from this track"}};
    juce::TooltipWindow tooltips{&content, 700};

    ServerView server;
    CoreStatus audio;
    StatusWords words;
    juce::String latencyText, waitingText;
    std::uint64_t missedBefore = 0, blocksBefore = 0;
    int missedTurns = 0, stillTurns = 0;

    JUCE_DECLARE_NON_COPYABLE_WITH_LEAK_DETECTOR(Editor)
};

}  // namespace stembridge
