// The editor's own small parts: prompt field, drop zone, segmented buttons, gain knob, name panel.
// Message thread only; each reports by a std::function and knows nothing of the processor.
#pragma once

#include "../PresetDocument.h"
#include "Look.h"

#include <juce_audio_processors/juce_audio_processors.h>

#include <functional>

namespace stembridge {

// A labelled line of words; hands them over on Return or when the focus leaves.
class PromptField final : public juce::Component {
public:
    PromptField(const juce::String& heading, const juce::String& hint, juce::Colour colour);
    void show(const juce::String& words);  // from outside; kept back while the user types
    std::function<void(const juce::String&)> onCommit;
    void resized() override;
    void paint(juce::Graphics& g) override;

private:
    void commit();
    juce::String heading, shown;
    juce::Colour colour;
    juce::TextEditor editor;
};

// Takes an audio file for one of the two sides, by dropping it or by a file chooser.
class DropZone final : public juce::Component, public juce::FileDragAndDropTarget {
public:
    DropZone();
    std::function<void(Side, const juce::File&)> onFile;
    bool isInterestedInFileDrag(const juce::StringArray& files) override;
    void fileDragMove(const juce::StringArray&, int x, int y) override;
    void fileDragExit(const juce::StringArray&) override;
    void filesDropped(const juce::StringArray& files, int x, int y) override;
    void resized() override;
    void paint(juce::Graphics& g) override;

private:
    void choose();
    void browse(Side side);
    int hover = 0;  // 0 none, 1 keep, 2 remove
    juce::TextButton button{juce::String::fromUTF8("Choose…")};
    std::unique_ptr<juce::FileChooser> chooser;
};

// Buttons of which exactly one is on.
class Segments final : public juce::Component {
public:
    Segments(const juce::String& title, const juce::StringArray& names,
             const juce::StringArray& hints);
    void show(int index);
    std::function<void(int)> onChoose;
    void resized() override;
    void paintOverChildren(juce::Graphics&) override {}

private:
    juce::OwnedArray<juce::TextButton> buttons;
};

// A gain from off to +12 dB, attached to its parameter.
class GainKnob final : public juce::Component {
public:
    GainKnob(const juce::String& name, juce::Colour colour, juce::RangedAudioParameter& parameter);
    void showPreset(float presetDb);  // what the preset itself adds
    void resized() override;
    void paint(juce::Graphics& g) override;

private:
    juce::String name;
    float presetDb = 0.0f;
    juce::Slider slider;
    juce::SliderParameterAttachment attachment;
};

// Asks for a name, over the whole editor. Escape leaves it.
class NamePanel final : public juce::Component {
public:
    NamePanel();
    void ask(const juce::String& heading, const juce::String& suggestion,
             std::function<void(const juce::String&)> onName);
    void resized() override;
    void paint(juce::Graphics& g) override;
    bool keyPressed(const juce::KeyPress& key) override;

private:
    void accept();
    juce::String heading;
    std::function<void(const juce::String&)> onName;
    juce::TextEditor editor;
    juce::TextButton save{"Save"}, cancel{"Cancel"};
};

}  // namespace stembridge
