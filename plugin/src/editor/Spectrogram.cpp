// See Spectrogram.h.
#include "Spectrogram.h"

#include <cmath>

namespace stembridge {
namespace {

constexpr float kFloorDb = -60.0f;
constexpr int kHoldTurns = 40;
constexpr float kFallDb = 1.2f;  // a turn

juce::Colour blend(uint8_t target, uint8_t remainder) {
    const auto shade = [](uint8_t value) {
        const float x = std::max(0.0f, (static_cast<float>(value) / 255.0f - 0.15f) / 0.85f);
        return std::pow(x, 1.6f);
    };
    const float keep = shade(target), rest = shade(remainder);
    const auto mix = [&](uint8_t a, uint8_t b, uint8_t ground) {
        const float v = static_cast<float>(ground) + keep * static_cast<float>(a) +
                        rest * static_cast<float>(b);
        return static_cast<uint8_t>(std::min(255.0f, v));
    };
    return {mix(colours::keep.getRed(), colours::remove.getRed(), 10),
            mix(colours::keep.getGreen(), colours::remove.getGreen(), 12),
            mix(colours::keep.getBlue(), colours::remove.getBlue(), 17)};
}

}  // namespace

Spectrogram::Spectrogram() {
    picture.clear(picture.getBounds(), blend(0, 0));
    setTitle("Picture of the sound");
    setDescription("Scrolling spectrogram: kept sound in amber, removed sound in blue");
}

void Spectrogram::push(const std::vector<SpectrumColumn>& columns) {
    if (columns.empty()) return;
    const int count = std::min(static_cast<int>(columns.size()), kColumns);
    picture.moveImageSection(0, 0, count, 0, kColumns - count, kSpectrumBands);
    for (int i = 0; i < count; ++i) {
        const auto& column = columns[columns.size() - static_cast<size_t>(count - i)];
        for (int band = 0; band < kSpectrumBands; ++band)
            picture.setPixelAt(kColumns - count + i, kSpectrumBands - 1 - band,
                               blend(column.target[static_cast<size_t>(band)],
                                     column.remainder[static_cast<size_t>(band)]));
    }
    repaint();
}

void Spectrogram::setMessage(const juce::String& words) {
    if (message == words) return;
    message = words;
    repaint();
}

void Spectrogram::paint(juce::Graphics& g) {
    const auto area = getLocalBounds().toFloat();
    juce::Path frame;
    frame.addRoundedRectangle(area, 8.0f);
    {
        const juce::Graphics::ScopedSaveState saved(g);
        g.reduceClipRegion(frame);
        g.setImageResamplingQuality(juce::Graphics::mediumResamplingQuality);
        g.drawImage(picture, area, juce::RectanglePlacement::stretchToFit);
        g.setFont(font(11.0f));
        const std::pair<float, const char*> marks[] = {
            {100, "100 Hz"}, {1000, "1 kHz"}, {10000, "10 kHz"}};
        for (const auto& [hz, name] : marks) {
            const float at = std::log(hz / 40.0f) / std::log(18000.0f / 40.0f);
            const float y = area.getBottom() - at * area.getHeight();
            g.setColour(colours::text.withAlpha(0.10f));
            g.drawHorizontalLine(juce::roundToInt(y), 0.0f, area.getWidth());
            g.setColour(colours::text.withAlpha(0.55f));
            g.drawText(name, juce::Rectangle<float>(6, y - 14, 60, 13),
                       juce::Justification::centredLeft);
        }
    }
    g.setColour(colours::line);
    g.strokePath(frame, juce::PathStrokeType(1.0f));
    if (message.isNotEmpty()) {
        g.setColour(colours::background.withAlpha(0.62f));
        g.fillPath(frame);
        g.setColour(colours::text);
        g.setFont(font(15.0f));
        g.drawFittedText(message, getLocalBounds().reduced(30), juce::Justification::centred, 3);
    }
}

Meters::Meters() {
    setTitle("Meters");
    setDescription("Levels of the input, the kept and the removed sound");
}

void Meters::set(float inputPeak, float targetPeak, float remainderPeak) {
    const float peaks[] = {inputPeak, targetPeak, remainderPeak};
    for (size_t i = 0; i < level.size(); ++i) {
        const float db = 20.0f * std::log10(std::max(peaks[i], 1.0e-6f));
        level[i] = std::max(db, level[i] - kFallDb);
        if (db >= hold[i] || ++age[i] > kHoldTurns) {
            hold[i] = db >= hold[i] ? db : std::max(db, hold[i] - kFallDb);
            if (db >= hold[i]) age[i] = 0;
        }
    }
    repaint();
}

void Meters::paint(juce::Graphics& g) {
    const char* const names[] = {"In", "Kept", "Rest"};
    const juce::Colour tints[] = {juce::Colour(0xffd5dbe8), colours::keep, colours::remove};
    auto area = getLocalBounds();
    const auto labels = area.removeFromBottom(18);
    const int width = area.getWidth() / 3;
    const auto place = [](float db) {
        return juce::jlimit(0.0f, 1.0f, (db - kFloorDb) / -kFloorDb);
    };
    for (int i = 0; i < 3; ++i) {
        const auto n = static_cast<size_t>(i);
        auto bar =
            juce::Rectangle<int>(area.getX() + i * width, area.getY(), width, area.getHeight())
                .withSizeKeepingCentre(12, area.getHeight())
                .toFloat();
        g.setColour(colours::field);
        g.fillRoundedRectangle(bar, 4.0f);
        const float filled = place(level[n]) * bar.getHeight();
        if (filled > 1.0f) {
            g.setGradientFill(juce::ColourGradient(tints[i].brighter(0.3f), 0, bar.getY(),
                                                   tints[i].darker(0.6f), 0, bar.getBottom(),
                                                   false));
            g.fillRoundedRectangle(bar.withTop(bar.getBottom() - filled), 4.0f);
        }
        if (hold[n] > kFloorDb) {
            g.setColour(hold[n] > 0.0f ? colours::bad : tints[i].brighter(0.5f));
            g.fillRect(
                bar.withHeight(2.0f).withY(bar.getBottom() - place(hold[n]) * bar.getHeight()));
        }
        g.setColour(colours::line);
        g.drawRoundedRectangle(bar, 4.0f, 1.0f);
        g.setColour(colours::quiet);
        g.setFont(font(11.5f));
        g.drawText(names[i], labels.getX() + i * width, labels.getY(), width, labels.getHeight(),
                   juce::Justification::centred);
    }
}

}  // namespace stembridge
