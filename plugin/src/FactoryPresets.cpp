// See FactoryPresets.h. A damaged or missing file becomes the fallback, so that slots stay put.
#include "FactoryPresets.h"

#include "BinaryData.h"

namespace stembridge {
namespace {

juce::String resource(const juce::String& fileName) {
    for (int i = 0; i < BinaryData::namedResourceListSize; ++i)
        if (fileName == BinaryData::originalFilenames[i]) {
            int size = 0;
            const char* data = BinaryData::getNamedResource(BinaryData::namedResourceList[i], size);
            return juce::String::fromUTF8(data, size);
        }
    return {};
}

std::vector<PresetDocument::Ptr> parseAll() {
    juce::StringArray order;
    order.addLines(resource("preset_slots.txt"));
    juce::StringArray unlisted;
    for (int i = 0; i < BinaryData::namedResourceListSize; ++i) {
        const juce::String file(BinaryData::originalFilenames[i]);
        if (file.endsWith(".preset") && !order.contains(file)) unlisted.add(file);
    }
    unlisted.sort(false);
    order.addArray(unlisted);
    std::vector<PresetDocument::Ptr> presets;
    for (const auto& line : order) {
        const auto file = line.trim();
        if (file.isEmpty() || file.startsWithChar('#')) continue;
        if (presets.size() + 1 >= static_cast<size_t>(kPresetSlots)) break;
        juce::String problem;
        auto preset = PresetDocument::parse(resource(file), problem);
        presets.push_back(preset != nullptr ? preset : PresetDocument::fallback());
    }
    if (presets.empty()) presets.push_back(PresetDocument::fallback());
    return presets;
}

}  // namespace

const std::vector<PresetDocument::Ptr>& factoryPresets() {
    static const auto presets = parseAll();
    return presets;
}

int factoryIndexOf(const PresetDocument& preset) {
    const auto& all = factoryPresets();
    for (size_t i = 0; i < all.size(); ++i)
        if (all[i].get() == &preset || all[i]->text == preset.text) return static_cast<int>(i);
    return -1;
}

int factoryIndexOf(const juce::String& name) {
    const auto& all = factoryPresets();
    for (size_t i = 0; i < all.size(); ++i)
        if (all[i]->name.equalsIgnoreCase(name)) return static_cast<int>(i);
    return -1;
}

}  // namespace stembridge
