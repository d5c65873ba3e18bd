// See Spectrogram.h.
#include "Spectrogram.h"

#include <algorithm>
#include <cmath>

namespace stembridge {
namespace {

constexpr float kFloorDb = -60.0f;
constexpr double kBackSeconds = 0.5;  // more than a server that starts anew goes back
constexpr float kGripPixels = 6.0f;
constexpr double kLeastSeconds = 0.2, kKeySeconds = 0.5, kKeySelectsSeconds = 5.0;
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
    if (columns.back().place < places.back() - kBackSeconds) {  // the tape was begun anew
        std::fill(places.begin(), places.end(), -1.0);
        select({});
    }
    std::rotate(places.begin(), places.begin() + count, places.end());
    picture.moveImageSection(0, 0, count, 0, kColumns - count, kSpectrumBands);
    for (int i = 0; i < count; ++i) {
        const auto& column = columns[columns.size() - static_cast<size_t>(count - i)];
        places[static_cast<size_t>(kColumns - count + i)] = column.place;
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

// --- selecting -------------------------------------------------------------------------------

void Spectrogram::setTape(juce::Range<double> now) {
    const bool was = !tape.isEmpty(), is = !now.isEmpty();
    tape = now;
    if (was != is) {
        setMouseCursor(is ? juce::MouseCursor::IBeamCursor : juce::MouseCursor::NormalCursor);
        setWantsKeyboardFocus(is);
        setTooltip(is ? "Drag to select where the sound is heard. Arrow keys move the selection, "
                        "with shift its begin"
                      : "");
    }
    select(selected);
}

void Spectrogram::select(juce::Range<double> wanted) {
    const auto now = tape.isEmpty() ? juce::Range<double>() : wanted.getIntersectionWith(tape);
    if (now == selected) return;
    selected = now;
    repaint();
}

double Spectrogram::placeAt(float x) const {
    const auto column = juce::jlimit(
        0, kColumns - 1, static_cast<int>(x / static_cast<float>(getWidth()) * kColumns));
    auto at = places.begin() + column;
    while (at != places.end() && *at < 0.0) ++at;  // left of the tape's begin
    return at == places.end() ? tape.getEnd() : *at;
}

float Spectrogram::xOf(double place) const {
    const auto column = std::lower_bound(places.begin(), places.end(), place) - places.begin();
    return static_cast<float>(column) / kColumns * static_cast<float>(getWidth());
}

void Spectrogram::mouseDown(const juce::MouseEvent& event) {
    if (tape.isEmpty()) return;
    if (getWantsKeyboardFocus()) grabKeyboardFocus();
    anchor = placeAt(event.position.x);
    if (!selected.isEmpty()) {  // an edge that is held is moved
        if (std::abs(event.position.x - xOf(selected.getStart())) < kGripPixels)
            anchor = selected.getEnd();
        else if (std::abs(event.position.x - xOf(selected.getEnd())) < kGripPixels)
            anchor = selected.getStart();
    }
}

void Spectrogram::mouseDrag(const juce::MouseEvent& event) {
    if (!tape.isEmpty()) select(juce::Range<double>::between(anchor, placeAt(event.position.x)));
}

void Spectrogram::mouseUp(const juce::MouseEvent&) {
    if (selected.getLength() < kLeastSeconds) select({});
}

bool Spectrogram::keyPressed(const juce::KeyPress& key) {
    const int step = key.isKeyCode(juce::KeyPress::leftKey)    ? -1
                     : key.isKeyCode(juce::KeyPress::rightKey) ? 1
                                                               : 0;
    if (step == 0 || tape.isEmpty()) return false;
    const double move = kKeySeconds * step;
    if (selected.isEmpty())
        select({tape.getEnd() - kKeySelectsSeconds, tape.getEnd()});
    else if (key.getModifiers().isShiftDown())
        select(selected.withStart(std::min(selected.getStart() + move,
                                           selected.getEnd() - kLeastSeconds)));
    else if (tape.contains(selected + move))
        select(selected + move);
    return true;
}

void Spectrogram::paintSelection(juce::Graphics& g, juce::Rectangle<float> area) const {
    const float left = xOf(selected.getStart()), right = xOf(selected.getEnd());
    const auto chosen = area.withLeft(left).withRight(std::max(left + 2.0f, right));
    g.setColour(colours::background.withAlpha(0.55f));
    g.fillRect(area.withRight(chosen.getX()));
    g.fillRect(area.withLeft(chosen.getRight()));
    g.setColour(colours::accent.withAlpha(0.16f));
    g.fillRect(chosen);
    g.setColour(colours::focus);
    g.fillRect(chosen.withWidth(2.0f));
    g.fillRect(chosen.withLeft(chosen.getRight() - 2.0f));
    const auto words = juce::String(selected.getLength(), 1) + " s";
    auto label = juce::Rectangle<float>(48.0f, 17.0f)
                     .withCentre({chosen.getCentreX(), area.getY() + 14.0f})
                     .constrainedWithin(area.reduced(3.0f));
    g.setColour(colours::accent);
    g.fillRoundedRectangle(label, 8.0f);
    g.setColour(juce::Colour(0xff14121f));
    g.setFont(font(12.0f, true));
    g.drawText(words, label, juce::Justification::centred);
}

// --- drawing ---------------------------------------------------------------------------------

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
            const auto label = juce::Rectangle<float>(5, y - 15, 45, 14);
            g.setColour(colours::background.withAlpha(0.6f));
            g.fillRoundedRectangle(label, 4.0f);
            g.setColour(colours::text.withAlpha(0.75f));
            g.drawText(name, label, juce::Justification::centred);
        }
        if (!selected.isEmpty()) paintSelection(g, area);
    }
    const bool focused = hasKeyboardFocus(false);
    g.setColour(focused ? colours::focus : colours::line);
    g.strokePath(frame, juce::PathStrokeType(focused ? 2.0f : 1.0f));
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
