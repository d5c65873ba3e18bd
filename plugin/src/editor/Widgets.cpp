// See Widgets.h.
#include "Widgets.h"

namespace stembridge {
namespace {

const char* const kAudioFiles = "*.wav;*.flac;*.mp3;*.ogg;*.opus;*.aif;*.aiff;*.m4a";

bool isAudio(const juce::String& path) {
    return juce::File(path).hasFileExtension("wav;flac;mp3;ogg;opus;aif;aiff;m4a");
}

}  // namespace

// --- PromptField -----------------------------------------------------------------------------

PromptField::PromptField(const juce::String& name, const juce::String& hint, juce::Colour tint)
    : heading(name), colour(tint) {
    addAndMakeVisible(editor);
    editor.setFont(font(15.0f));
    editor.setTextToShowWhenEmpty(hint, colours::quiet.withAlpha(0.7f));
    editor.setTitle(heading);
    editor.setDescription("Sounds to " + heading.toLowerCase() + ", separated by commas");
    editor.setTooltip("Names of sounds, separated by commas. Return applies them.");
    editor.setInputRestrictions(2000);
    editor.setSelectAllWhenFocused(true);
    editor.setIndents(9, 0);
    editor.setJustification(juce::Justification::centredLeft);
    editor.onReturnKey = [this] { commit(); };
    editor.onFocusLost = [this] { commit(); };
    editor.onEscapeKey = [this] {
        editor.setText(shown, false);
        editor.giveAwayKeyboardFocus();
    };
}

void PromptField::show(const juce::String& words) {
    if (words == shown || editor.hasKeyboardFocus(true)) return;
    shown = words;
    editor.setText(words, false);
}

void PromptField::commit() {
    const auto words = editor.getText().trim();
    if (words == shown) return;
    shown = words;
    if (onCommit) onCommit(words);
}

void PromptField::resized() {
    editor.setBounds(getLocalBounds().withTrimmedTop(20));
}

void PromptField::paint(juce::Graphics& g) {
    g.setColour(colour);
    g.fillEllipse(2.0f, 5.0f, 8.0f, 8.0f);
    g.setColour(colours::text);
    g.setFont(font(13.5f, true));
    g.drawText(heading, 16, 0, getWidth() - 16, 18, juce::Justification::centredLeft);
}

// --- DropZone --------------------------------------------------------------------------------

DropZone::DropZone() {
    addAndMakeVisible(button);
    button.setTitle("Choose an example clip");
    button.setTooltip("Give a short recording of the sound instead of its name");
    button.onClick = [this] { choose(); };
    setTitle("Example clip");
}

bool DropZone::isInterestedInFileDrag(const juce::StringArray& files) {
    return files.size() == 1 && isAudio(files[0]);
}

void DropZone::fileDragMove(const juce::StringArray&, int x, int) {
    hover = x < getWidth() / 2 ? 1 : 2;
    repaint();
}

void DropZone::fileDragExit(const juce::StringArray&) {
    hover = 0;
    repaint();
}

void DropZone::filesDropped(const juce::StringArray& files, int x, int) {
    hover = 0;
    repaint();
    if (onFile && files.size() == 1)
        onFile(x < getWidth() / 2 ? Side::keep : Side::remove, juce::File(files[0]));
}

void DropZone::choose() {
    juce::PopupMenu menu;
    menu.addItem(juce::String::fromUTF8("Keep a sound like this…"), [this] { browse(Side::keep); });
    menu.addItem(juce::String::fromUTF8("Remove a sound like this…"),
                 [this] { browse(Side::remove); });
    menu.showMenuAsync(juce::PopupMenu::Options().withTargetComponent(button));
}

void DropZone::browse(Side side) {
    chooser = std::make_unique<juce::FileChooser>("Choose an example clip", juce::File(),
                                                  kAudioFiles, true, false, getTopLevelComponent());
    const auto safe = juce::Component::SafePointer<DropZone>(this);
    chooser->launchAsync(
        juce::FileBrowserComponent::openMode | juce::FileBrowserComponent::canSelectFiles,
        [safe, side](const juce::FileChooser& chosen) {
            if (safe != nullptr && safe->onFile && chosen.getResult().existsAsFile())
                safe->onFile(side, chosen.getResult());
        });
}

void DropZone::resized() {
    button.setBounds(getLocalBounds().removeFromRight(100).withSizeKeepingCentre(84, 28));
}

void DropZone::paint(juce::Graphics& g) {
    const auto area = getLocalBounds().toFloat().reduced(1.0f);
    if (hover != 0) {
        auto left = area, right = left.removeFromRight(area.getWidth() / 2);
        g.setColour(colours::keep.withAlpha(hover == 1 ? 0.55f : 0.2f));
        g.fillRoundedRectangle(left, 8.0f);
        g.setColour(colours::remove.withAlpha(hover == 2 ? 0.55f : 0.2f));
        g.fillRoundedRectangle(right, 8.0f);
        g.setColour(colours::text);
        g.setFont(font(14.0f, true));
        g.drawText("Keep", left, juce::Justification::centred);
        g.drawText("Remove", right, juce::Justification::centred);
        return;
    }
    juce::Path outline, dashed;
    outline.addRoundedRectangle(area, 8.0f);
    const float dashes[] = {5.0f, 4.0f};
    juce::PathStrokeType(1.2f).createDashedStroke(dashed, outline, dashes, 2);
    g.setColour(colours::quiet.withAlpha(0.55f));
    g.fillPath(dashed);
    g.setColour(colours::quiet);
    g.setFont(font(13.0f));
    g.drawFittedText("Drop an example clip:\na sound to keep or remove",
                     getLocalBounds().withTrimmedLeft(14).withTrimmedRight(98),
                     juce::Justification::centredLeft, 2, 0.8f);
}

// --- Segments --------------------------------------------------------------------------------

Segments::Segments(const juce::String& title, const juce::StringArray& names,
                   const juce::StringArray& hints) {
    setTitle(title);
    for (int i = 0; i < names.size(); ++i) {
        auto* button = buttons.add(new juce::TextButton(names[i]));
        button->setTitle(title + ": " + names[i]);
        button->setTooltip(hints[i]);
        button->setRadioGroupId(1, juce::dontSendNotification);
        button->setClickingTogglesState(false);
        button->setConnectedEdges((i > 0 ? juce::Button::ConnectedOnLeft : 0) |
                                  (i + 1 < names.size() ? juce::Button::ConnectedOnRight : 0));
        button->onClick = [this, i] {
            if (onChoose) onChoose(i);
        };
        addAndMakeVisible(button);
    }
}

void Segments::show(int index) {
    for (int i = 0; i < buttons.size(); ++i)
        buttons[i]->setToggleState(i == index, juce::dontSendNotification);
}

void Segments::resized() {
    auto area = getLocalBounds();
    const int count = buttons.size();
    for (int i = 0; i < count; ++i)
        buttons[i]->setBounds(area.removeFromLeft(area.getWidth() / (count - i)));
}

// --- GainKnob --------------------------------------------------------------------------------

GainKnob::GainKnob(const juce::String& title, juce::Colour colour,
                   juce::RangedAudioParameter& parameter)
    : name(title),
      slider(juce::Slider::RotaryHorizontalVerticalDrag, juce::Slider::TextBoxBelow),
      attachment(parameter, slider) {
    slider.setColour(juce::Slider::rotarySliderFillColourId, colour);
    slider.setColour(juce::Slider::textBoxOutlineColourId, juce::Colours::transparentBlack);
    slider.textFromValueFunction = [](double db) {
        if (db <= static_cast<double>(kOffDb)) return juce::String("off");
        return (db > 0.0 ? "+" : "") + juce::String(db, 1) + " dB";
    };
    slider.valueFromTextFunction = [](const juce::String& text) {
        return text.trim().startsWithIgnoreCase("off") ? static_cast<double>(kOffDb)
                                                       : text.getDoubleValue();
    };
    slider.updateText();
    slider.setDoubleClickReturnValue(true, 0.0);
    slider.setTextBoxStyle(juce::Slider::TextBoxBelow, false, 76, 18);
    slider.setSkewFactorFromMidPoint(-8.0);
    slider.setWantsKeyboardFocus(true);
    slider.setTitle(title + " gain");
    slider.setTooltip("Gain of the " + title.toLowerCase() + " sound. Double click: 0 dB");
    addAndMakeVisible(slider);
}

void GainKnob::showPreset(float db) {
    if (juce::approximatelyEqual(db, presetDb)) return;
    presetDb = db;
    repaint();
}

void GainKnob::resized() {
    slider.setBounds(getLocalBounds().withTrimmedTop(17));
}

void GainKnob::paint(juce::Graphics& g) {
    auto words = name;
    if (presetDb <= kOffDb)
        words += " (preset: off)";
    else if (std::abs(presetDb) > 0.01f)
        words += " (preset " + juce::String(presetDb, 1) + ")";
    g.setColour(colours::quiet);
    g.setFont(font(12.5f));
    g.drawFittedText(words, getLocalBounds().withHeight(17), juce::Justification::centred, 1, 0.7f);
}

// --- NamePanel -------------------------------------------------------------------------------

NamePanel::NamePanel() {
    setVisible(false);
    setWantsKeyboardFocus(true);
    for (juce::Component* child : std::initializer_list<juce::Component*>{&editor, &save, &cancel})
        addAndMakeVisible(child);
    editor.setFont(font(16.0f));
    editor.setInputRestrictions(80);
    editor.setIndents(9, 0);
    editor.setJustification(juce::Justification::centredLeft);
    editor.setTitle("Name of the preset");
    editor.onReturnKey = [this] { accept(); };
    editor.onEscapeKey = [this] { setVisible(false); };
    save.setColour(juce::TextButton::buttonColourId, colours::accent);
    save.setColour(juce::TextButton::textColourOffId, juce::Colour(0xff14121f));
    save.onClick = [this] { accept(); };
    cancel.onClick = [this] { setVisible(false); };
}

void NamePanel::ask(const juce::String& words, const juce::String& suggestion,
                    std::function<void(const juce::String&)> then) {
    heading = words;
    onName = std::move(then);
    editor.setText(suggestion, false);
    setVisible(true);
    toFront(true);
    editor.grabKeyboardFocus();
    editor.selectAll();
}

void NamePanel::accept() {
    const auto name = editor.getText().trim();
    if (name.isEmpty()) return;
    setVisible(false);
    if (onName) onName(name);
}

void NamePanel::resized() {
    auto box = getLocalBounds().withSizeKeepingCentre(400, 150).reduced(24, 20);
    box.removeFromTop(28);
    editor.setBounds(box.removeFromTop(34));
    box.removeFromTop(14);
    auto row = box.removeFromTop(32);
    save.setBounds(row.removeFromRight(100));
    row.removeFromRight(10);
    cancel.setBounds(row.removeFromRight(100));
}

void NamePanel::paint(juce::Graphics& g) {
    g.fillAll(colours::background.withAlpha(0.75f));
    const auto box = getLocalBounds().withSizeKeepingCentre(400, 150);
    drawCard(g, box, {});
    g.setColour(colours::text);
    g.setFont(font(15.0f, true));
    g.drawText(heading, box.reduced(24, 20).withHeight(22),
               juce::Justification::centredLeft);
}

bool NamePanel::keyPressed(const juce::KeyPress& key) {
    if (key != juce::KeyPress::escapeKey) return false;
    setVisible(false);
    return true;
}

}  // namespace stembridge
