// The scrolling picture of what is kept (amber) and what is removed (blue), newest at the right.
//
// It draws only columns that the server sent: no server, no picture. Message thread.
#pragma once

#include "../ServerView.h"
#include "Look.h"

namespace stembridge {

class Spectrogram final : public juce::Component {
public:
    Spectrogram();
    void push(const std::vector<SpectrumColumn>& columns);
    void setMessage(const juce::String& words);  // over the picture; empty: none
    void paint(juce::Graphics& g) override;

private:
    static constexpr int kColumns = 320;
    juce::Image picture{juce::Image::RGB, kColumns, kSpectrumBands, true};
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
