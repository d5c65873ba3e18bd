// The plugin as the host sees it: buses, parameters, state; a thin face on RealtimeCore (audio)
// and ServerClient (control).
//
// Threads: processBlock() runs on the host's audio thread and touches the core, atomics and, when
// it renders offline, the client's waiting room. The client's thread asks for sessionWish() and
// reports latency; whatever needs the host's message thread goes through the AsyncUpdater, and
// prepareToPlay() brings it up to date where no message loop runs.
#pragma once

#include "Parameters.h"
#include "PluginState.h"
#include "ServerClient.h"

#include <stembridge/realtime_core.hpp>

namespace stembridge {

class Processor final : public juce::AudioProcessor,
                        private ServerClient::Delegate,
                        private juce::AsyncUpdater {
public:
    Processor();
    ~Processor() override;

    // --- for the editor (message thread) ---
    Parameters parameters;
    ServerClient client;

    PresetDocument::Ptr currentPreset() const;
    Mode effectiveMode() const;
    Output effectiveOutput() const;
    float effectiveTargetDb() const;
    float effectiveRemainderDb() const;
    void chooseFactory(int index);
    void choosePreset(PresetDocument::Ptr preset);  // becomes "Custom"
    void setPrompts(Side side, const juce::String& words);
    Waiting waiting() const { return waitingChoice.load(); }
    void setWaiting(Waiting choice) { waitingChoice = choice; }
    CoreStatus coreStatus() const { return core.status(); }
    juce::String stateProblem() const;
    void dismissStateProblem();
    bool gaveUpOffline() const { return offlineGaveUp.load(); }
    // How much of the last offline render was dry because no server came.
    double drySeconds() const;
    void dismissDryRender() { dryCount = 0; }
    std::atomic<double> editorScale{1.0};

    // --- juce::AudioProcessor ---
    const juce::String getName() const override { return "Stembridge"; }
    bool isBusesLayoutSupported(const BusesLayout& layout) const override;
    void prepareToPlay(double sampleRate, int maxBlock) override;
    void releaseResources() override {}
    void reset() override;
    void processBlock(juce::AudioBuffer<float>& buffer, juce::MidiBuffer&) override;
    void processBlock(juce::AudioBuffer<double>& buffer, juce::MidiBuffer&) override;
    void processBlockBypassed(juce::AudioBuffer<float>& buffer, juce::MidiBuffer&) override;
    void processBlockBypassed(juce::AudioBuffer<double>& buffer, juce::MidiBuffer&) override;
    bool supportsDoublePrecisionProcessing() const override { return true; }
    juce::AudioProcessorParameter* getBypassParameter() const override { return parameters.bypass; }
    double getTailLengthSeconds() const override;
    bool acceptsMidi() const override { return false; }
    bool producesMidi() const override { return false; }
    bool hasEditor() const override { return true; }
    juce::AudioProcessorEditor* createEditor() override;
    int getNumPrograms() override { return 1; }
    int getCurrentProgram() override { return 0; }
    void setCurrentProgram(int) override {}
    const juce::String getProgramName(int) override { return "Default"; }
    void changeProgramName(int, const juce::String&) override {}
    void getStateInformation(juce::MemoryBlock& into) override;
    void setStateInformation(const void* data, int size) override;

private:
    // --- ServerClient::Delegate (the client's thread) ---
    SessionWish sessionWish() override;
    void housekeeping() override { core.housekeeping(); }
    void latencyKnown(const juce::String& key, int samples) override;
    void changedElsewhere(const juce::String& key, const juce::String& value) override;
    PresetDocument::Ptr promptsUnderstood(PresetDocument::Ptr preset) override;
    int drySamples() override { return static_cast<int>(std::min<juce::int64>(dryCount, 1 << 30)); }

    void handleAsyncUpdate() override;
    void render(float* const* channels, int channelCount, int samples, bool bypassed);
    void waitForServer();
    void countDry(int samples, bool offline) noexcept;
    int knownLatency() const;  // of the present wish, or a good guess
    void announceLatency(double sampleRate, int block);
    void applyLatency();
    void prepareCore(double sampleRate, int channels, int block, int latency);
    // What the audio thread needs of a preset, for a custom one too, without a lock.
    struct Heard {
        Output output;
        float targetDb, remainderDb;
    };
    Heard heard() const noexcept;

    RealtimeCore core;
    std::mutex preparing;     // held while the core is made ready or its latency changed
    mutable std::mutex lock;  // guards what follows, up to the blank line; never the audio thread's
    PresetDocument::Ptr custom;
    std::map<juce::String, int> latencies;
    juce::String problem;
    std::vector<std::pair<juce::String, juce::String>> changes;
    // What was playing and what the server made of it.
    std::vector<std::pair<PresetDocument::Ptr, PresetDocument::Ptr>> understood;
    juce::String link;
    int preparedRate = 0, preparedBlock = 0;
    std::int64_t preparedRoom = 0;

    std::atomic<Output> customOutput{Output::target};
    std::atomic<float> customTargetDb{0.0f}, customRemainderDb{0.0f};
    std::atomic<Waiting> waitingChoice{Waiting::automatic};
    std::atomic<juce::int64> samplesSeen{0}, dryCount{0};
    std::atomic<bool> offlineGaveUp{false}, passBegins{true};
    int greetingsSeen = 0;
    std::atomic<bool> latencyAnnounced{false};
    // For a server that is there, never for one that is not; and for one that a bounce waits for.
    static constexpr double kPrepareWaitSeconds = 0.4, kOfflineWaitSeconds = 30.0;
    double offlineBudgetSeconds, tryoutBudgetSeconds;  // what is left to wait for a server
    juce::AudioBuffer<float> narrow;                   // for hosts that hand doubles

    JUCE_DECLARE_NON_COPYABLE_WITH_LEAK_DETECTOR(Processor)
};

}  // namespace stembridge
