// See LearnPanel.h.
#include "LearnPanel.h"

namespace stembridge {
namespace {

constexpr double kLastSeconds[] = {5.0, 10.0, 20.0};
constexpr double kLeastHeldSeconds = 1.0;

void prepare(juce::TextButton& button, const juce::String& title, const juce::String& hint) {
    button.setTitle(title);
    button.setTooltip(hint);
}

}  // namespace

// --- TapeButton ------------------------------------------------------------------------------

TapeButton::TapeButton() : juce::Button("Record the last 30 s") {
    setClickingTogglesState(false);
    setTooltip("Keeps the last 30 s of this track in the server's memory, until you stop it");
}

void TapeButton::show(const LearnStatus& status) {
    const double now =
        status.armed() ? juce::jlimit(0.0, 1.0, status.heldSeconds / status.armedSeconds) : -1.0;
    const auto words = status.tapeWords();
    setEnabled(status.state != LearnStatus::State::away);
    setToggleState(status.armed(), juce::dontSendNotification);
    if (words == getButtonText() && std::abs(now - held) < 1.0e-3) return;
    held = now;
    setButtonText(words);
    setTitle(status.armed() ? words + ", press to stop" : words);
    repaint();
}

void TapeButton::paintButton(juce::Graphics& g, bool over, bool down) {
    const auto area = getLocalBounds().toFloat().reduced(0.5f);
    const float alpha = isEnabled() ? 1.0f : 0.45f;
    juce::Path shape;
    shape.addRoundedRectangle(area, 7.0f);
    auto ground = juce::Colour(0xff262b37);
    if (over || down) ground = ground.brighter(down ? 0.25f : 0.12f);
    g.setColour(ground.withMultipliedAlpha(alpha));
    g.fillPath(shape);
    if (held >= 0.0) {
        const juce::Graphics::ScopedSaveState saved(g);
        g.reduceClipRegion(shape);
        g.setColour(colours::bad.withAlpha(0.30f));
        g.fillRect(area.withWidth(area.getWidth() * static_cast<float>(held)));
    }
    const bool focused = hasKeyboardFocus(false);
    g.setColour(focused ? colours::focus : colours::line);
    g.strokePath(shape, juce::PathStrokeType(focused ? 2.0f : 1.0f));
    auto inner = getLocalBounds().reduced(11, 0);
    const auto dot = inner.removeFromLeft(12).withSizeKeepingCentre(10, 10).toFloat();
    g.setColour(colours::bad.withMultipliedAlpha(alpha));
    if (held >= 0.0)
        g.fillEllipse(dot);
    else
        g.drawEllipse(dot.reduced(1.0f), 2.0f);
    g.setColour(colours::text.withMultipliedAlpha(alpha));
    g.setFont(font(14.0f));
    if (held >= 0.0)
        g.drawText("Stop", inner.removeFromRight(38), juce::Justification::centredRight);
    g.drawText(getButtonText(), inner.withTrimmedLeft(8), juce::Justification::centredLeft);
}

// --- LearnPanel ------------------------------------------------------------------------------

LearnPanel::LearnPanel() {
    setTitle("Learn a sound");
    for (const double seconds : kLastSeconds) {
        const auto words = juce::String(juce::roundToInt(seconds)) + " s";
        auto* button = lasts.add(new juce::TextButton(words));
        prepare(*button, "Take the last " + words, "Select the last " + words + " that were heard");
        button->onClick = [this, seconds] {
            if (onLast) onLast(seconds);
        };
    }
    prepare(mark, "Add the selection as an example",
            "Add the selection to the examples. Several teach more than one");
    prepare(forget, "Clear the examples", "Forget the examples");
    prepare(tryIt, "Try the examples at once",
            "Play the examples as the prompt at once, without learning");
    prepare(learn, "Learn from the examples",
            "Tune a prompt on the examples, about a minute, while the track plays on");
    prepare(keepBest, "Stop and keep the best so far", "End now with the best so far");
    prepare(cancel, "Cancel learning", "End now and change nothing");
    prepare(save, "Save the learned preset", "Save what was learned into your own presets");
    const auto press = [](juce::TextButton& button, std::function<void()>& action) {
        button.onClick = [&action] {
            if (action) action();
        };
    };
    tape.onClick = [this] {
        if (onArm) onArm(!status.armed());
    };
    press(mark, onMark);
    press(forget, onForget);
    press(tryIt, onTry);
    press(learn, onLearn);
    press(save, onSave);
    keepBest.onClick = [this] {
        if (onCancel) onCancel(true);
    };
    cancel.onClick = [this] {
        if (onCancel) onCancel(false);
    };
    versions.onChoose = [this](int index) {
        if (onAudition) onAudition(index == 1);
    };
    sides.onChoose = [this](int index) {
        chosenSide = index == 0 ? Side::keep : Side::remove;
        sides.show(index);
    };
    sides.show(0);
    for (auto* button : {&learn, &save}) {
        button->setColour(juce::TextButton::buttonColourId, colours::accent);
        button->setColour(juce::TextButton::textColourOffId, juce::Colour(0xff14121f));
    }
    int order = 1;
    const auto add = [&](juce::Component& child) {
        addAndMakeVisible(child);
        child.setExplicitFocusOrder(order++);
    };
    add(tape);
    for (auto* button : lasts) add(*button);
    for (juce::Component* child : std::initializer_list<juce::Component*>{
             &mark, &forget, &sides, &tryIt, &learn, &keepBest, &cancel, &versions, &save})
        add(*child);
    show({}, 0.0);
}

void LearnPanel::show(const LearnStatus& now, double seconds) {
    using State = LearnStatus::State;
    const bool changed = now.state != status.state || now.message != status.message ||
                         now.markWords() != status.markWords() ||
                         now.progressWords() != status.progressWords() ||
                         now.armed() != status.armed() || std::abs(seconds - selected) > 0.04;
    status = now;
    selected = seconds;
    tape.show(now);
    const bool busy = now.state == State::learning, learned = now.state == State::learned;
    const bool something = selected > 0.0 || now.marks > 0;
    for (auto* button : lasts)
        button->setEnabled(now.armed() && !busy && now.heldSeconds >= kLeastHeldSeconds);
    mark.setEnabled(selected > 0.0 && !busy);
    forget.setEnabled(now.marks > 0 && !busy);
    sides.setEnabled(!busy);
    tryIt.setEnabled(something && !busy);
    learn.setEnabled(something && !busy);
    for (juce::Component* child : std::initializer_list<juce::Component*>{&sides, &tryIt, &learn})
        child->setVisible(!busy);
    keepBest.setVisible(busy);
    cancel.setVisible(busy);
    versions.setVisible(learned);
    save.setVisible(learned);
    versions.show(now.audition ? 1 : 0);
    if (changed) {
        setDescription(busy ? now.progressWords() : now.message);
        repaint();
    }
}

void LearnPanel::resized() {
    auto area = getLocalBounds();
    tape.setBounds(area.removeFromTop(29));
    area.removeFromTop(7);
    auto row = area.removeFromTop(26);
    choiceLine = row.removeFromLeft(98);
    const int count = lasts.size();
    for (int i = 0; i < count; ++i) {
        lasts[i]->setBounds(row.removeFromLeft(row.getWidth() / (count - i)).reduced(2, 0));
        lasts[i]->setConnectedEdges(0);
    }
    area.removeFromTop(7);
    row = area.removeFromTop(26);
    mark.setBounds(row.removeFromLeft(96));
    forget.setBounds(row.removeFromRight(52));
    markLine = row.reduced(7, 0);
    area.removeFromTop(7);
    row = area.removeFromTop(28);
    keepBest.setBounds(row.withTrimmedRight(90));
    cancel.setBounds(row.withLeft(row.getRight() - 84));
    sides.setBounds(row.removeFromLeft(138));
    learn.setBounds(row.removeFromRight(68));
    row.removeFromRight(5);
    tryIt.setBounds(row.withTrimmedLeft(7));
    area.removeFromTop(5);
    row = area.removeFromBottom(28);
    progressArea = row.withSizeKeepingCentre(row.getWidth(), 10);
    messageArea = area.withTrimmedBottom(3);
    save.setBounds(row.removeFromRight(74));
    row.removeFromRight(8);
    versions.setBounds(row);
}

void LearnPanel::paint(juce::Graphics& g) {
    using State = LearnStatus::State;
    const bool live = status.armed();
    g.setFont(font(12.5f));
    g.setColour(live ? colours::text : colours::quiet.withAlpha(0.6f));
    const auto chosen = selected > 0.0 ? "Selected " + juce::String(selected, 1) + " s"
                                       : juce::String("Take the last");
    g.drawText(chosen, choiceLine, juce::Justification::centredLeft);
    g.setColour(status.marks > 0 ? colours::text : colours::quiet.withAlpha(0.6f));
    g.drawFittedText(status.markWords(), markLine, juce::Justification::centredLeft, 1, 0.8f);
    auto message = status.message;
    if (status.state == State::learning) {
        message = status.progressWords();
        const auto bar = progressArea.toFloat();
        g.setColour(colours::field);
        g.fillRoundedRectangle(bar, 5.0f);
        g.setColour(colours::accent);
        g.fillRoundedRectangle(
            bar.withWidth(std::max(10.0f, bar.getWidth() * static_cast<float>(status.fraction))),
            5.0f);
    } else if (status.state != State::learned && message.isEmpty()) {
        message = !live ? "Record, play the track, then choose where the sound is heard."
                        : "Drag over the picture where the sound is heard, or take the last seconds.";
    }
    auto place = messageArea;
    if (status.state == State::off || status.state == State::armed) place.setBottom(getHeight());
    g.setColour(status.state == State::learned ? colours::text : colours::quiet);
    g.drawFittedText(message, place, juce::Justification::centredLeft, 3, 0.75f);
}

// --- ProbeLine -------------------------------------------------------------------------------

ProbeLine::ProbeLine() {
    addAndMakeVisible(check);
    setTitle("Fit of the prompt");
    prepare(check, "Check how well the prompt fits",
            "Listens for ten seconds, then tells whether this sound is in the track");
    check.onClick = [this] {
        if (onCheck) onCheck();
    };
}

void ProbeLine::show(const ProbeStatus& status) {
    check.setEnabled(status.state != ProbeStatus::State::away && !status.busy());
    const auto now = status.words();
    setTooltip(status.sentence());
    setDescription(status.sentence());
    if (now == words && status.colour() == colour) return;
    words = now;
    colour = status.colour();
    repaint();
}

void ProbeLine::resized() {
    check.setBounds(getLocalBounds().removeFromRight(62));
}

void ProbeLine::paint(juce::Graphics& g) {
    g.setColour(colour == juce::Colour() ? colours::quiet : colour);
    g.setFont(font(12.5f));
    g.drawFittedText(words, getLocalBounds().withTrimmedRight(70), juce::Justification::centredRight,
                     1, 0.8f);
}

}  // namespace stembridge
