// See Editor.h.
#include "Editor.h"

namespace stembridge {
namespace {

constexpr int kWidth = 800, kHeight = 500;  // at 100 %
constexpr int kStillTurns = 9;              // without a block, until the meters fall
constexpr int kMissedTurns = 90;            // how long a warning about late audio stays

const juce::Rectangle<int> kLeftCard{16, 66, 292, 262}, kPictureCard{320, 66, 464, 262},
    kOutputCard{16, 338, 456, 118}, kModeCard{484, 338, 300, 118}, kStatus{16, 464, 768, 30};

juce::Colour toneColour(StatusTone tone) {
    switch (tone) {
        case StatusTone::good:
            return colours::good;
        case StatusTone::working:
            return colours::accent;
        case StatusTone::warning:
            return colours::warn;
        case StatusTone::bad:
            break;
    }
    return colours::bad;
}

void setChoice(juce::AudioParameterChoice* parameter, int index) {
    parameter->beginChangeGesture();
    *parameter = index;
    parameter->endChangeGesture();
}

}  // namespace

Editor::Editor(Processor& owner)
    : AudioProcessorEditor(owner),
      processor(owner),
      content(*this),
      targetGain("Kept", colours::keep, *owner.parameters.targetDb),
      remainderGain("Rest", colours::remove, *owner.parameters.remainderDb),
      learning(owner, picture, namePanel) {
    setLookAndFeel(&look);
    addAndMakeVisible(content);
    for (juce::Component* child : std::initializer_list<juce::Component*>{
             &previous, &preset, &next, &saveButton, &saveAsButton, &settings, &keep, &remove,
             &drop, &output, &targetGain, &remainderGain, &mode, &picture, &meters, &action,
             &pages, &learning.panel, &learning.probe})
        content.addAndMakeVisible(child);
    content.addChildComponent(namePanel);

    previous.setButtonText(juce::String::fromUTF8("‹"));
    previous.setTitle("Previous preset");
    previous.setTooltip("Previous preset");
    next.setButtonText(juce::String::fromUTF8("›"));
    next.setTitle("Next preset");
    next.setTooltip("Next preset");
    settings.setButtonText(juce::String::fromUTF8("⋯"));
    settings.setTitle("Settings");
    settings.setTooltip("Size of the window, waiting for the server");
    previous.onClick = [this] { stepPreset(-1); };
    next.onClick = [this] { stepPreset(1); };
    preset.onClick = [this] { showPresetMenu(); };
    saveButton.onClick = [this] { save(); };
    saveAsButton.onClick = [this] { askName(processor.currentPreset()->name); };
    settings.onClick = [this] { showSettingsMenu(); };
    saveButton.setTooltip("Save into your own presets");
    saveAsButton.setTooltip("Save into your own presets under a new name");
    keep.onCommit = [this](const juce::String& text) { commitPrompts(Side::keep, text); };
    remove.onCommit = [this](const juce::String& text) { commitPrompts(Side::remove, text); };
    drop.onFile = [this](Side side, const juce::File& file) {
        processor.client.setExample(side, file);
    };
    output.onChoose = [this](int index) { setChoice(processor.parameters.output, index + 1); };
    mode.onChoose = [this](int index) { setChoice(processor.parameters.mode, index + 1); };
    action.setColour(juce::TextButton::buttonColourId, colours::accent);
    action.setColour(juce::TextButton::textColourOffId, juce::Colour(0xff14121f));
    action.onClick = [this] {
        if (words.action == StatusAction::startServer) {
            processor.client.startServer();
        } else {
            processor.dismissStateProblem();
            processor.dismissDryRender();
            processor.client.dismissError();
        }
    };
    pages.onChoose = [this](int index) { turnTo(index == 1); };

    int order = 1;
    for (juce::Component* child : std::initializer_list<juce::Component*>{
             &preset, &previous, &next, &saveButton, &saveAsButton, &settings, &pages, &keep,
             &remove, &drop, &learning.panel, &picture, &learning.probe, &output, &targetGain,
             &remainderGain, &mode, &action})
        child->setExplicitFocusOrder(order++);

    setResizable(true, true);
    if (auto* limits = getConstrainer()) {
        limits->setFixedAspectRatio(static_cast<double>(kWidth) / kHeight);
        limits->setSizeLimits(kWidth, kHeight, kWidth * 2, kHeight * 2);
    }
    const auto scale = juce::jlimit(1.0, 2.0, processor.editorScale.load());
    setSize(juce::roundToInt(kWidth * scale), juce::roundToInt(kHeight * scale));
    turnTo(false);
    processor.client.setWatched(true);
    missedBefore = processor.coreStatus().missed_blocks;
    timerCallback();
    startTimerHz(30);
}

Editor::~Editor() {
    stopTimer();
    processor.client.setWatched(false);
    setLookAndFeel(nullptr);
}

void Editor::paint(juce::Graphics& g) {
    g.fillAll(colours::background);
}

void Editor::resized() {
    const float scale = std::max(0.25f, std::min(static_cast<float>(getWidth()) / kWidth,
                                                 static_cast<float>(getHeight()) / kHeight));
    content.setTransform(juce::AffineTransform::scale(scale));
    content.setBounds(0, 0, kWidth, kHeight);
    processor.editorScale = juce::jlimit(1.0, 2.0, static_cast<double>(scale));
}

void Editor::layOut() {
    auto header = juce::Rectangle<int>(16, 14, kWidth - 32, 38);
    header.removeFromLeft(178);
    settings.setBounds(header.removeFromRight(40));
    header.removeFromRight(8);
    saveAsButton.setBounds(header.removeFromRight(92));
    header.removeFromRight(6);
    saveButton.setBounds(header.removeFromRight(66));
    header.removeFromRight(14);
    previous.setBounds(header.removeFromLeft(32));
    next.setBounds(header.removeFromRight(32));
    preset.setBounds(header.reduced(6, 0));

    auto left = kLeftCard.reduced(14, 10);
    pages.setBounds(left.removeFromTop(27));
    left.removeFromTop(9);
    learning.panel.setBounds(left);
    keep.setBounds(left.removeFromTop(54));
    left.removeFromTop(9);
    remove.setBounds(left.removeFromTop(54));
    left.removeFromTop(13);
    drop.setBounds(left);

    auto right = kPictureCard.reduced(12, 10);
    learning.probe.setBounds(right.removeFromTop(20).withTrimmedLeft(160));
    right.removeFromTop(4);
    meters.setBounds(right.removeFromRight(118));
    right.removeFromRight(10);
    picture.setBounds(right);

    auto outputs = kOutputCard.reduced(14, 12);
    outputs.removeFromTop(18);
    const auto knob = [&] {
        return outputs.removeFromRight(104)
            .withTop(kOutputCard.getY() + 5)
            .withBottom(kOutputCard.getBottom() - 6);
    };
    remainderGain.setBounds(knob());
    targetGain.setBounds(knob());
    outputs.removeFromRight(12);
    output.setBounds(outputs.withSizeKeepingCentre(outputs.getWidth(), 38));

    auto modes = kModeCard.reduced(14, 8);
    modes.removeFromTop(20);
    mode.setBounds(modes.removeFromTop(34));

    action.setBounds(kStatus.withLeft(kStatus.getRight() - 110));
    namePanel.setBounds(content.getLocalBounds());
}

void Editor::paintContent(juce::Graphics& g) {
    g.setGradientFill(juce::ColourGradient(juce::Colour(0xff171a22), 0, 0, colours::background, 0,
                                           static_cast<float>(kHeight) * 0.6f, false));
    g.fillAll();
    // The mark: a bridge of two arches, one of each colour.
    juce::Path amber, blue;
    amber.addCentredArc(30, 42, 11, 13, 0, -juce::MathConstants<float>::halfPi,
                        juce::MathConstants<float>::halfPi, true);
    blue.addCentredArc(50, 42, 11, 13, 0, -juce::MathConstants<float>::halfPi,
                       juce::MathConstants<float>::halfPi, true);
    g.setColour(colours::keep);
    g.strokePath(amber, juce::PathStrokeType(4.0f));
    g.setColour(colours::remove);
    g.strokePath(blue, juce::PathStrokeType(4.0f));
    g.setColour(colours::text);
    g.fillRect(17, 24, 46, 3);
    g.setFont(font(19.0f, true));
    g.drawText("Stembridge", 72, 14, 110, 38, juce::Justification::centredLeft);

    drawCard(g, kLeftCard, {});
    drawCard(g, kPictureCard, {});
    drawCard(g, kOutputCard, "Output");
    drawCard(g, kModeCard, "Mode");

    auto legend = kPictureCard.reduced(14, 8).withHeight(20);
    const auto entry = [&](const char* name, juce::Colour colour, int width) {
        auto place = legend.removeFromLeft(width);
        g.setColour(colour);
        g.fillRoundedRectangle(place.removeFromLeft(14).withSizeKeepingCentre(10, 10).toFloat(),
                               3.0f);
        g.setColour(colours::quiet);
        g.setFont(font(12.5f));
        g.drawText(name, place.withTrimmedLeft(5), juce::Justification::centredLeft);
    };
    entry("Kept", colours::keep, 66);
    entry("Removed", colours::remove, 90);

    auto modes = kModeCard.reduced(14, 7).removeFromBottom(36);
    g.setFont(font(13.0f));
    g.setColour(colours::text);
    g.drawText("Delay  " + latencyText, modes.removeFromTop(18), juce::Justification::centredLeft);
    g.setColour(colours::quiet);
    g.drawText(waitingText, modes, juce::Justification::centredLeft);

    g.setColour(colours::panel);
    g.fillRoundedRectangle(kStatus.toFloat(), 8.0f);
    auto line = kStatus.reduced(12, 0);
    if (action.isVisible()) line.setRight(action.getX() - 8);
    g.setColour(toneColour(words.tone));
    g.fillEllipse(line.removeFromLeft(10).withSizeKeepingCentre(9, 9).toFloat());
    line.removeFromLeft(8);
    g.setColour(colours::text);
    g.setFont(font(13.0f));
    g.drawFittedText(words.text, line, juce::Justification::centredLeft, 2, 0.72f);
}

void Editor::timerCallback() {
    server = processor.client.view();
    audio = processor.coreStatus();
    const auto current = processor.currentPreset();
    const bool custom = factoryIndexOf(*current) < 0;
    const bool known = !custom || isUserPreset(current->name);
    const auto title = current->name + (known ? "" : "  (unsaved)");
    if (preset.getButtonText() != title) {
        preset.setButtonText(title);
        preset.setTitle("Preset: " + current->name);
        preset.setTooltip(current->description.isEmpty()
                              ? current->name
                              : current->name + "\n" + current->description);
    }
    keep.show(current->keep);
    remove.show(current->remove);
    output.show(static_cast<int>(processor.effectiveOutput()));
    mode.show(static_cast<int>(processor.effectiveMode()));
    learning.refresh(server);
    targetGain.showPreset(current->targetDb);
    remainderGain.showPreset(current->remainderDb);
    targetGain.setAlpha(processor.effectiveOutput() == Output::remainder ? 0.45f : 1.0f);
    remainderGain.setAlpha(processor.effectiveOutput() == Output::target ? 0.45f : 1.0f);

    if (audio.missed_blocks > missedBefore) missedTurns = kMissedTurns;
    missedBefore = audio.missed_blocks;
    if (missedTurns > 0) --missedTurns;
    const bool playing = server.phase == ServerPhase::connected && audio.state == CoreState::wet;
    // The core's peaks are of its last block: when no blocks come, there is no sound.
    stillTurns = audio.blocks == blocksBefore ? std::min(stillTurns + 1, kStillTurns) : 0;
    blocksBefore = audio.blocks;
    const bool moving = stillTurns < kStillTurns;
    meters.set(moving ? audio.input_peak : 0.0f, moving && playing ? audio.target_peak : 0.0f,
               moving && playing ? audio.remainder_peak : 0.0f);
    picture.push(processor.client.takeSpectrum());
    picture.setMessage(server.phase == ServerPhase::connected
                           ? juce::String()
                           : juce::String("The picture comes from the server."));

    const auto now = describe(server, audio, processor.stateProblem(), processor.gaveUpOffline(),
                              processor.drySeconds(), processor.parameters.bypass->get(), missedTurns > 0);
    const auto latency = latencyWords(processor.getLatencySamples(), processor.getSampleRate());
    const auto wait = juce::String("Rendering waits: ") +
                      (processor.waiting() == Waiting::automatic ? "when the host bounces"
                       : processor.waiting() == Waiting::always  ? "always"
                                                                 : "never");
    if (now.text != words.text || now.action != words.action || now.tone != words.tone ||
        latency != latencyText || wait != waitingText) {
        words = now;
        latencyText = latency;
        waitingText = wait;
        action.setVisible(words.action != StatusAction::none);
        action.setButtonText(words.action == StatusAction::startServer ? "Start" : "OK");
        action.setTitle(words.action == StatusAction::startServer ? "Start the server"
                                                                  : "Dismiss the message");
        setDescription(words.text);
        content.repaint();
    }
}

// --- menus -------------------------------------------------------------------------------------

bool Editor::isUserPreset(const juce::String& name) const {
    for (const auto& row : server.presets)
        if (row.group == "user" && row.name == name) return true;
    return false;
}

void Editor::showPresetMenu() {
    juce::PopupMenu menu;
    const auto current = processor.currentPreset();
    const int playing = factoryIndexOf(*current);
    const auto& factory = factoryPresets();
    juce::StringArray groups;
    for (const auto& one : factory) groups.addIfNotAlreadyThere(one->group);
    for (const auto& group : groups) {
        menu.addSectionHeader(group.isEmpty() ? juce::String("Factory") : group);
        for (size_t i = 0; i < factory.size(); ++i)
            if (factory[i]->group == group)
                menu.addItem(factory[i]->name, true, static_cast<int>(i) == playing,
                             [this, i] { processor.chooseFactory(static_cast<int>(i)); });
    }
    menu.addSeparator();
    menu.addSectionHeader("Yours");
    bool any = false;
    for (const auto& row : server.presets)
        if (row.group == "user") {
            any = true;
            menu.addItem(row.name, true, playing < 0 && row.name == current->name,
                         [this, name = row.name] { processor.client.fetchPreset(name); });
        }
    if (!any)
        menu.addItem(server.phase == ServerPhase::connected ? "None yet: Save as…"
                                                            : "They come from the server",
                     false, false, {});
    menu.showMenuAsync(
        juce::PopupMenu::Options().withTargetComponent(preset).withMinimumWidth(preset.getWidth()));
}

void Editor::stepPreset(int step) {
    const int count = static_cast<int>(factoryPresets().size());
    const int now = factoryIndexOf(*processor.currentPreset());
    processor.chooseFactory(now < 0 ? 0 : (now + step + count) % count);
}

void Editor::save() {
    const auto name = processor.currentPreset()->name;
    if (isUserPreset(name))
        processor.client.savePreset(name, true, processor.currentPreset());
    else
        askName(name);
}

void Editor::askName(const juce::String& suggestion) {
    namePanel.ask("Save this preset as", suggestion, [this](const juce::String& name) {
        processor.choosePreset(processor.currentPreset()->withName(name));
        processor.client.savePreset(name, isUserPreset(name), processor.currentPreset());
    });
}

void Editor::turnTo(bool learn) {
    pages.show(learn ? 1 : 0);
    for (juce::Component* child : std::initializer_list<juce::Component*>{&keep, &remove, &drop})
        child->setVisible(!learn);
    learning.panel.setVisible(learn);
    learning.setOpen(learn);
}

void Editor::commitPrompts(Side side, const juce::String& text) {
    const auto& current = *processor.currentPreset();
    if (text == (side == Side::keep ? current.keep : current.remove)) return;
    if (server.phase == ServerPhase::connected)
        processor.client.setPrompts(side, text);
    else
        processor.setPrompts(side, text);
}

void Editor::showSettingsMenu() {
    juce::PopupMenu menu, wait, size;
    const std::pair<Waiting, const char*> choices[] = {
        {Waiting::automatic, "Auto: when the host renders offline"},
        {Waiting::never, "Never: live use, also in hosts that claim to render"},
        {Waiting::always, "Always: every sample, for hosts that do not tell"}};
    for (const auto& [choice, name] : choices)
        wait.addItem(name, true, processor.waiting() == choice,
                     [this, choice = choice] { processor.setWaiting(choice); });
    for (int percent : {100, 125, 150, 175, 200})
        size.addItem(juce::String(percent) + " %", true,
                     juce::roundToInt(processor.editorScale * 100.0) == percent,
                     [this, percent] { setSize(kWidth * percent / 100, kHeight * percent / 100); });
    menu.addSubMenu("Waiting for the server", wait);
    menu.addSubMenu("Size of the window", size);
    menu.addSeparator();
    menu.addItem("Stembridge " STEMBRIDGE_VERSION +
                     (server.version.isEmpty() ? juce::String() : ", server " + server.version),
                 false, false, {});
    menu.showMenuAsync(juce::PopupMenu::Options().withTargetComponent(settings));
}

}  // namespace stembridge
