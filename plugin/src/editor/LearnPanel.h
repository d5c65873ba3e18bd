// Learn a sound from the track: record, choose a stretch, learn, compare, save.
//
// Shows a LearnStatus and hands presses on; it keeps no state of its own but the side. Message
// thread. Its height fits the left card of the editor.
#pragma once

#include "../PresetDocument.h"
#include "LearnStatus.h"
#include "Widgets.h"

namespace stembridge {

// Arms the tape; its fill is how much of the tape is held.
class TapeButton final : public juce::Button {
public:
    TapeButton();
    void show(const LearnStatus& status);
    void paintButton(juce::Graphics& g, bool over, bool down) override;

private:
    double held = -1.0;  // below 0: not recording
};

class LearnPanel final : public juce::Component {
public:
    LearnPanel();
    // `selected`: seconds chosen on the picture; 0 = none.
    void show(const LearnStatus& status, double selected);
    Side side() const { return chosenSide; }

    std::function<void(bool on)> onArm;
    std::function<void(double seconds)> onLast;
    std::function<void()> onMark, onForget, onTry, onLearn, onSave;
    std::function<void(bool keepBest)> onCancel;
    std::function<void(bool learned)> onAudition;

    void resized() override;
    void paint(juce::Graphics& g) override;

private:
    LearnStatus status;
    double selected = 0;
    Side chosenSide = Side::keep;
    TapeButton tape;
    juce::OwnedArray<juce::TextButton> lasts;
    juce::TextButton mark{"Add example"}, forget{"Clear"}, tryIt{"Try"}, learn{"Learn"},
        keepBest{"Stop, keep the best"}, cancel{"Cancel"}, save{juce::String::fromUTF8("Save…")};
    Segments sides{"Side",
                   {"Keep", "Remove"},
                   {"The sound is one to keep", "The sound is one to remove"}};
    Segments versions{"Compare",
                      {"Before", "Learned"},
                      {"Hear the prompt from before", "Hear what was learned"}};
    juce::Rectangle<int> choiceLine, markLine, messageArea, progressArea;
};

// How much is kept, how well the prompt fits, and the button that asks.
class ProbeLine final : public juce::Component, public juce::SettableTooltipClient {
public:
    ProbeLine();
    void show(const ProbeStatus& status);
    std::function<void()> onCheck;
    void resized() override;
    void paint(juce::Graphics& g) override;

private:
    juce::String words;
    juce::Colour colour;
    juce::TextButton check{"Check"};
};

}  // namespace stembridge
