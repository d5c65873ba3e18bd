// The scrolling picture of what is kept (amber) and what is removed (blue), newest at the right.
//
// It draws only columns that the server sent: no server, no picture. While a learning tape is
// given, a stretch of it can be selected by dragging or with the arrow keys; the selection is in
// places on the tape, so it stays with its sound as that scrolls away. Message thread.
#pragma once

#include "../ServerView.h"
#include "Look.h"

namespace stembridge {

class Spectrogram final : public juce::Component, public juce::SettableTooltipClient {
public:
    Spectrogram();
    void push(const std::vector<SpectrumColumn>& columns);
    void setMessage(const juce::String& words);  // over the picture; empty: none
    void setTape(juce::Range<double> places);    // what can be selected; empty: nothing
    void select(juce::Range<double> places);
    juce::Range<double> selection() const { return selected; }
    void paint(juce::Graphics& g) override;
    void mouseDown(const juce::MouseEvent& event) override;
    void mouseDrag(const juce::MouseEvent& event) override;
    void mouseUp(const juce::MouseEvent& event) override;
    bool keyPressed(const juce::KeyPress& key) override;
    void focusGained(FocusChangeType) override { repaint(); }
    void focusLost(FocusChangeType) override { repaint(); }

private:
    void paintSelection(juce::Graphics& g, juce::Rectangle<float> area) const;
    double placeAt(float x) const;  // of the sound under x
    float xOf(double place) const;
    static constexpr int kColumns = 600;  // half a minute at the rate at which they come
    juce::Image picture{juce::Image::RGB, kColumns, kSpectrumBands, true};
    std::vector<double> places = std::vector<double>(kColumns, -1.0);  // of each column; -1: none
    juce::Range<double> tape, selected;
    double anchor = 0.0;  // of the drag
    juce::String message;
};

// Three vertical bars with peak marks, -60 to 0 dBFS.
class Meters final : public juce::Component {
public:
    Meters();
    void set(float inputPeak, float targetPeak, float remainderPeak);  // linear, at ~30 Hz
    void paint(juce::Graphics& g) override;

private:
    std::array<float, 3> level{-120, -120, -120}, hold{-120, -120, -120};
    std::array<int, 3> age{};
};

}  // namespace stembridge
