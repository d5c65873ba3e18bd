// Colours, fonts and the drawing of standard widgets. Amber is what is kept, blue is what is
// removed, everywhere: text fields, meters, knobs, the picture.
#pragma once

#include <juce_gui_basics/juce_gui_basics.h>

namespace stembridge {

namespace colours {
const juce::Colour background{0xff12141a}, panel{0xff1b1f28}, field{0xff12151c}, line{0xff2c3240},
    text{0xffe9edf5}, quiet{0xff97a1b4}, keep{0xffffa24d}, remove{0xff46b4ff}, accent{0xff8f7bff},
    good{0xff4fd69c}, warn{0xffffcf5c}, bad{0xffff6b6b}, focus{0xffc9bfff};
}

juce::Font font(float height, bool bold = false);

// A rounded card with a small heading.
void drawCard(juce::Graphics& g, juce::Rectangle<int> area, const juce::String& heading);

class Look final : public juce::LookAndFeel_V4 {
public:
    Look();
    juce::Font getTextButtonFont(juce::TextButton&, int) override { return font(14.0f); }
    juce::Font getPopupMenuFont() override { return font(15.0f); }
    juce::Font getLabelFont(juce::Label& label) override { return label.getFont(); }
    void drawButtonBackground(juce::Graphics&, juce::Button&, const juce::Colour&, bool,
                              bool) override;
    void drawButtonText(juce::Graphics&, juce::TextButton&, bool, bool) override;
    void drawRotarySlider(juce::Graphics&, int, int, int, int, float, float, float,
                          juce::Slider&) override;
    void fillTextEditorBackground(juce::Graphics&, int, int, juce::TextEditor&) override;
    void drawTextEditorOutline(juce::Graphics&, int, int, juce::TextEditor&) override;
    void drawPopupMenuBackgroundWithOptions(juce::Graphics&, int, int,
                                            const juce::PopupMenu::Options&) override;
    juce::Label* createSliderTextBox(juce::Slider&) override;
};

}  // namespace stembridge
