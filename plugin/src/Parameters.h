// The host's parameters. Each is independent of the others: the gains are trims on top of the
// preset's own, and "Preset" as output or mode leaves the choice to the preset, so automating one
// parameter never moves another.
#pragma once

#include "FactoryPresets.h"

#include <juce_audio_processors/juce_audio_processors.h>

namespace stembridge {

struct Parameters {
    juce::AudioParameterChoice* preset = nullptr;  // 0: what the state carries; i: factory i - 1
    juce::AudioParameterChoice* output = nullptr;  // preset, target, remainder, mix
    juce::AudioParameterChoice* mode = nullptr;    // preset, live, mix, render
    juce::AudioParameterFloat* targetDb = nullptr;
    juce::AudioParameterFloat* remainderDb = nullptr;
    juce::AudioParameterBool* bypass = nullptr;

    // Adds them to the processor, which owns them.
    explicit Parameters(juce::AudioProcessor& processor) {
        juce::StringArray names{"Custom"};
        for (const auto& factory : factoryPresets()) names.add(factory->name);
        while (names.size() < kPresetSlots) names.add("-");
        const juce::NormalisableRange<float> range(kOffDb, 12.0f, 0.1f);
        const auto gain = juce::AudioParameterFloatAttributes().withLabel("dB");
        using Id = juce::ParameterID;
        preset = new juce::AudioParameterChoice(Id{"preset", 1}, "Preset", names, 1);
        output = new juce::AudioParameterChoice(Id{"output", 1}, "Output",
                                                {"Preset", "Solo", "Remove", "Mix"}, 0);
        mode = new juce::AudioParameterChoice(Id{"mode", 1}, "Mode",
                                              {"Preset", "Live", "Mix", "Render"}, 0);
        targetDb =
            new juce::AudioParameterFloat(Id{"target_gain", 1}, "Target gain", range, 0.0f, gain);
        remainderDb = new juce::AudioParameterFloat(Id{"remainder_gain", 1}, "Remainder gain",
                                                    range, 0.0f, gain);
        bypass = new juce::AudioParameterBool(Id{"bypass", 1}, "Bypass", false);
        for (juce::AudioProcessorParameter* parameter :
             std::initializer_list<juce::AudioProcessorParameter*>{preset, output, mode, targetDb,
                                                                   remainderDb, bypass})
            processor.addParameter(parameter);
    }
};

}  // namespace stembridge
