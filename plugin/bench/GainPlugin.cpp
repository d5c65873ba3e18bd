// The plainest plugin that JUCE makes: one gain. The benchmark's yardstick, not for installing.
#include <juce_audio_processors/juce_audio_processors.h>

namespace {

class GainPlugin final : public juce::AudioProcessor {
public:
    GainPlugin()
        : AudioProcessor(BusesProperties()
                             .withInput("Input", juce::AudioChannelSet::stereo())
                             .withOutput("Output", juce::AudioChannelSet::stereo())),
          gain(new juce::AudioParameterFloat(juce::ParameterID{"gain", 1}, "Gain", 0.0f, 2.0f,
                                             0.5f)) {
        addParameter(gain);
    }
    const juce::String getName() const override { return "StembridgeBenchGain"; }
    void prepareToPlay(double, int) override {}
    void releaseResources() override {}
    using AudioProcessor::processBlock;
    void processBlock(juce::AudioBuffer<float>& buffer, juce::MidiBuffer&) override {
        buffer.applyGain(gain->get());
    }
    double getTailLengthSeconds() const override { return 0.0; }
    bool acceptsMidi() const override { return false; }
    bool producesMidi() const override { return false; }
    juce::AudioProcessorEditor* createEditor() override { return nullptr; }
    bool hasEditor() const override { return false; }
    int getNumPrograms() override { return 1; }
    int getCurrentProgram() override { return 0; }
    void setCurrentProgram(int) override {}
    const juce::String getProgramName(int) override { return "Default"; }
    void changeProgramName(int, const juce::String&) override {}
    void getStateInformation(juce::MemoryBlock&) override {}
    void setStateInformation(const void*, int) override {}

private:
    juce::AudioParameterFloat* gain;
};

}  // namespace

juce::AudioProcessor* JUCE_CALLTYPE createPluginFilter() {
    return new GainPlugin();
}
