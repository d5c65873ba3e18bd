// See Look.h.
#include "Look.h"

namespace stembridge {

juce::Font font(float height, bool bold) {
    static const juce::String family = [] {
        const auto installed = juce::Font::findAllTypefaceNames();
        for (const char* name : {"Inter", "SF Pro Text", "Segoe UI", "Noto Sans", "Open Sans",
                                 "Cantarell", "Ubuntu", "DejaVu Sans"})
            if (installed.contains(name)) return juce::String(name);
        return juce::Font::getDefaultSansSerifFontName();
    }();
    return {family, height, bold ? juce::Font::bold : juce::Font::plain};
}

void drawCard(juce::Graphics& g, juce::Rectangle<int> area, const juce::String& heading) {
    g.setColour(colours::panel);
    g.fillRoundedRectangle(area.toFloat(), 10.0f);
    g.setColour(colours::line);
    g.drawRoundedRectangle(area.toFloat().reduced(0.5f), 10.0f, 1.0f);
    if (heading.isEmpty()) return;
    g.setColour(colours::quiet);
    g.setFont(font(12.0f, true));
    g.drawText(heading.toUpperCase(), area.reduced(14, 0).withHeight(28),
               juce::Justification::centredLeft);
}

Look::Look() {
    using namespace juce;
    setColour(ResizableWindow::backgroundColourId, colours::background);
    setColour(TextButton::buttonColourId, Colour(0xff262b37));
    setColour(TextButton::buttonOnColourId, colours::accent);
    setColour(TextButton::textColourOffId, colours::text);
    setColour(TextButton::textColourOnId, Colour(0xff14121f));
    setColour(TextEditor::backgroundColourId, colours::field);
    setColour(TextEditor::textColourId, colours::text);
    setColour(TextEditor::highlightColourId, colours::accent.withAlpha(0.45f));
    setColour(TextEditor::highlightedTextColourId, colours::text);
    setColour(TextEditor::outlineColourId, colours::line);
    setColour(CaretComponent::caretColourId, colours::text);
    setColour(Label::textColourId, colours::text);
    setColour(Slider::textBoxTextColourId, colours::text);
    setColour(Slider::textBoxOutlineColourId, Colours::transparentBlack);
    setColour(Slider::textBoxBackgroundColourId, Colours::transparentBlack);
    setColour(PopupMenu::backgroundColourId, Colour(0xff20242f));
    setColour(PopupMenu::textColourId, colours::text);
    setColour(PopupMenu::headerTextColourId, colours::quiet);
    setColour(PopupMenu::highlightedBackgroundColourId, colours::accent.withAlpha(0.35f));
    setColour(PopupMenu::highlightedTextColourId, colours::text);
    setColour(TooltipWindow::backgroundColourId, Colour(0xff20242f));
    setColour(TooltipWindow::outlineColourId, colours::line);
    setColour(TooltipWindow::textColourId, colours::text);
}

void Look::drawButtonBackground(juce::Graphics& g, juce::Button& button, const juce::Colour& base,
                                bool over, bool down) {
    const auto area = button.getLocalBounds().toFloat().reduced(0.5f);
    auto colour = base;
    if (down)
        colour = colour.brighter(0.25f);
    else if (over)
        colour = colour.brighter(0.12f);
    if (!button.isEnabled()) colour = colour.withMultipliedAlpha(0.5f);
    const bool left = button.isConnectedOnLeft(), right = button.isConnectedOnRight();
    juce::Path shape;
    shape.addRoundedRectangle(area.getX(), area.getY(), area.getWidth(), area.getHeight(), 7.0f,
                              7.0f, !left, !right, !left, !right);
    g.setColour(colour);
    g.fillPath(shape);
    const bool focused = button.hasKeyboardFocus(false);
    g.setColour(focused ? colours::focus : colours::line);
    g.strokePath(shape, juce::PathStrokeType(focused ? 2.0f : 1.0f));
}

void Look::drawButtonText(juce::Graphics& g, juce::TextButton& button, bool, bool) {
    g.setFont(font(14.0f, button.getToggleState()));
    g.setColour(button
                    .findColour(button.getToggleState() ? juce::TextButton::textColourOnId
                                                        : juce::TextButton::textColourOffId)
                    .withMultipliedAlpha(button.isEnabled() ? 1.0f : 0.4f));
    g.drawFittedText(button.getButtonText(), button.getLocalBounds().reduced(8, 2),
                     juce::Justification::centred, 1, 0.85f);
}

void Look::drawRotarySlider(juce::Graphics& g, int x, int y, int width, int height, float position,
                            float start, float end, juce::Slider& slider) {
    const auto colour = slider.findColour(juce::Slider::rotarySliderFillColourId);
    const auto area = juce::Rectangle<int>(x, y, width, height).toFloat().reduced(5.0f);
    const float radius = std::min(area.getWidth(), area.getHeight()) / 2.0f;
    const auto centre = area.getCentre();
    const float angle = start + position * (end - start);
    const float zero =
        start + static_cast<float>(slider.valueToProportionOfLength(0.0)) * (end - start);
    juce::Path track, value;
    track.addCentredArc(centre.x, centre.y, radius, radius, 0, start, end, true);
    value.addCentredArc(centre.x, centre.y, radius, radius, 0, std::min(zero, angle),
                        std::max(zero, angle), true);
    const juce::PathStrokeType stroke(4.0f, juce::PathStrokeType::curved,
                                      juce::PathStrokeType::rounded);
    g.setColour(colours::line);
    g.strokePath(track, stroke);
    g.setColour(colour);
    g.strokePath(value, stroke);
    const float body = radius - 7.0f;
    g.setGradientFill(juce::ColourGradient(juce::Colour(0xff3a4152), centre.x, centre.y - body,
                                           juce::Colour(0xff232834), centre.x, centre.y + body,
                                           false));
    g.fillEllipse(centre.x - body, centre.y - body, body * 2, body * 2);
    g.setColour(slider.hasKeyboardFocus(true) ? colours::focus : colours::line.brighter(0.2f));
    g.drawEllipse(centre.x - body, centre.y - body, body * 2, body * 2,
                  slider.hasKeyboardFocus(true) ? 2.0f : 1.0f);
    g.setColour(colour);
    const auto tip = centre.getPointOnCircumference(body - 3.0f, angle);
    const auto root = centre.getPointOnCircumference(body * 0.45f, angle);
    g.drawLine({root, tip}, 3.0f);
}

void Look::fillTextEditorBackground(juce::Graphics& g, int width, int height, juce::TextEditor&) {
    g.setColour(colours::field);
    g.fillRoundedRectangle(0, 0, static_cast<float>(width), static_cast<float>(height), 6.0f);
}

void Look::drawTextEditorOutline(juce::Graphics& g, int width, int height,
                                 juce::TextEditor& editor) {
    const bool focused = editor.hasKeyboardFocus(true);
    g.setColour(focused ? colours::focus : editor.findColour(juce::TextEditor::outlineColourId));
    g.drawRoundedRectangle(0.5f, 0.5f, static_cast<float>(width) - 1.0f,
                           static_cast<float>(height) - 1.0f, 6.0f, focused ? 2.0f : 1.0f);
}

void Look::drawPopupMenuBackgroundWithOptions(juce::Graphics& g, int width, int height,
                                              const juce::PopupMenu::Options&) {
    g.fillAll(findColour(juce::PopupMenu::backgroundColourId));
    g.setColour(colours::line);
    g.drawRect(0, 0, width, height, 1);
}

juce::Label* Look::createSliderTextBox(juce::Slider& slider) {
    auto* label = LookAndFeel_V4::createSliderTextBox(slider);
    label->setFont(font(13.0f));
    label->setColour(juce::Label::textColourId, colours::text);
    return label;
}

}  // namespace stembridge
