// See Processor.h. Preparing, latency and audio: the audio thread's part, and the bounded waits of
// an offline render.
#include "Processor.h"

#include "LatencyGuess.h"

#include <cmath>

namespace stembridge {
namespace {

constexpr double kRoomSeconds = 1.5;              // of latency that can be set without a new link
constexpr juce::int64 kTryoutSamples = 11 * 512;  // what pedalboard pushes through on loading

}  // namespace

// Some hosts (those built on JUCE among them) ask for the latency after they have said the new rate
// and before they activate the plugin, so prepareToPlay() would come too late to say it. The only
// question they ask in between is whether the layout is supported.
bool Processor::isBusesLayoutSupported(const BusesLayout& layout) const {
    const auto input = layout.getMainInputChannelSet();
    const bool supported =
        input == layout.getMainOutputChannelSet() &&
        (input == juce::AudioChannelSet::mono() || input == juce::AudioChannelSet::stereo());
    if (supported && getSampleRate() > 0.0 && getBlockSize() > 0)
        const_cast<Processor*>(this)->announceLatency(getSampleRate(), getBlockSize());
    return supported;
}

void Processor::announceLatency(double sampleRate, int block) {
    {
        const std::lock_guard<std::mutex> hold(lock);
        preparedRate = juce::roundToInt(sampleRate);
        preparedBlock = juce::jlimit(1, 1 << 16, block);
    }
    const auto key = sessionWish().latencyKey();
    const auto known = [&] {
        const std::lock_guard<std::mutex> hold(lock);
        return latencies.count(key) != 0;
    };
    if (!known()) client.waitFor(known, kPrepareWaitSeconds);
    const auto samples = knownLatency();
    if (samples != getLatencySamples()) setLatencySamples(samples);
    latencyAnnounced = true;
}

void Processor::prepareToPlay(double sampleRate, int maxBlock) {
    const int channels = juce::jlimit(1, 2, getMainBusNumInputChannels());
    const int block = juce::jlimit(1, 1 << 16, maxBlock);
    if (!latencyAnnounced || preparedRate != juce::roundToInt(sampleRate) || preparedBlock != block)
        announceLatency(sampleRate, block);
    latencyAnnounced = false;
    passBegins = true;
    offlineBudgetSeconds = kOfflineWaitSeconds;  // another render, another chance
    narrow.setSize(channels, block);
    const std::lock_guard<std::mutex> hold(preparing);
    prepareCore(sampleRate, channels, block, getLatencySamples());
}

void Processor::prepareCore(double sampleRate, int channels, int block, int latency) {
    CoreConfig config;
    config.sample_rate_hz = sampleRate;
    config.channels = channels;
    config.max_block_samples = block;
    config.latency_samples = latency;
    config.max_latency_samples =
        std::max<std::int64_t>(latency, std::llround(kRoomSeconds * sampleRate));
    juce::String trouble;
    try {
        core.prepare(config);
    } catch (const LinkError& error) {
        trouble = juce::String::fromUTF8(error.what());
    }
    const std::lock_guard<std::mutex> hold(lock);
    preparedRoom = config.max_latency_samples;
    link = juce::String(core.link_name());
    if (trouble.isNotEmpty()) problem = trouble;
}

void Processor::reset() {
    passBegins = true;
    core.reset();
    offlineBudgetSeconds = kOfflineWaitSeconds;
}

int Processor::knownLatency() const {
    const auto wish = const_cast<Processor*>(this)->sessionWish();
    const std::lock_guard<std::mutex> hold(lock);
    const auto known = latencies.find(wish.latencyKey());
    if (known != latencies.end()) return known->second;
    return guessLatency(wish.preset->separator, wish.mode, wish.sampleRate, wish.maxBlock);
}

// Core and host must agree at every moment. A host that renders offline may not hear of a change
// before it prepares again, so none is made until then.
void Processor::applyLatency() {
    if (isNonRealtime() || core.status().state == CoreState::unprepared) return;
    {
        const std::lock_guard<std::mutex> once(preparing);  // or it were for what was before
        if (isNonRealtime()) return;
        const auto samples = knownLatency();
        if (samples == core.latency_samples()) return;
        std::int64_t room = 0;
        int block = 0;
        {
            const std::lock_guard<std::mutex> hold(lock);
            room = preparedRoom;
            block = preparedBlock;
        }
        if (samples <= room) {
            core.set_latency_samples(samples);
        } else {  // a mode of many seconds: the link must grow, for which audio pauses a moment
            suspendProcessing(true);
            prepareCore(getSampleRate(), juce::jlimit(1, 2, getMainBusNumInputChannels()), block,
                        samples);
            suspendProcessing(false);
        }
    }
    // Not under the lock: the host may prepare again from within this call, on any thread.
    std::int64_t said = -1;
    while (said != core.latency_samples()) {
        said = core.latency_samples();
        setLatencySamples(static_cast<int>(said));
    }
}

Processor::Heard Processor::heard() const noexcept {
    const auto slot = static_cast<size_t>(parameters.preset->getIndex());
    const auto& factory = factoryPresets();
    if (slot < 1 || slot > factory.size())
        return {customOutput.load(), customTargetDb.load(), customRemainderDb.load()};
    const auto& preset = *factory[slot - 1];
    return {preset.output, preset.targetDb, preset.remainderDb};
}

void Processor::render(float* const* channels, int channelCount, int samples, bool bypassed) {
    const auto preset = heard();
    const int choice = parameters.output->getIndex();
    const auto output = choice == 0 ? preset.output : static_cast<Output>(choice - 1);
    const float targetTrim = parameters.targetDb->get();
    const float remainderTrim = parameters.remainderDb->get();
    const auto gain = [](float own, float trim) {
        return own <= kOffDb || trim <= kOffDb ? 0.0f : gainFromDb(own + trim);
    };
    core.set_target_gain(output == Output::remainder ? 0.0f : gain(preset.targetDb, targetTrim));
    core.set_remainder_gain(output == Output::target ? 0.0f
                                                     : gain(preset.remainderDb, remainderTrim));
    const bool dry = bypassed || parameters.bypass->get();
    core.set_bypass(dry);
    const auto waits = waitingChoice.load();
    const bool offline =
        !dry && (waits == Waiting::always || (waits == Waiting::automatic && isNonRealtime()));
    if (offline && samples > 0) waitForServer();
    core.process(channels, channels, channelCount, samples, offline);
    countDry(samples, offline);
    samplesSeen.fetch_add(samples, std::memory_order_relaxed);
}

// A render begins with the first offline block after a reset or after playing.
void Processor::countDry(int samples, bool offline) noexcept {
    if (!offline) {
        if (samples > 0) passBegins = true;
        return;
    }
    if (samplesSeen.load(std::memory_order_relaxed) < kTryoutSamples) return;
    if (passBegins.exchange(false)) dryCount = 0;
    const auto state = core.status().state;
    if (state != CoreState::wet && state != CoreState::starting) dryCount += samples;
}

double Processor::drySeconds() const {
    const double rate = getSampleRate();
    return rate > 0.0 ? static_cast<double>(dryCount.load()) / rate : 0.0;
}

// Offline only. Gives a server that is coming the time to come; never waits for one that is not.
// Hosts push a few blocks through a plugin when they load it: these wait a moment at most.
void Processor::waitForServer() {
    if (client.settled() && core.attached()) {
        offlineBudgetSeconds = kOfflineWaitSeconds;
        offlineGaveUp = false;
        return;
    }
    const bool tryout = samplesSeen.load(std::memory_order_relaxed) < kTryoutSamples;
    if (client.settled() && !client.separates()) {  // refused: no time can help, another preset can
        offlineGaveUp = !tryout;
        return;
    }
    if (client.greetings() != greetingsSeen) {  // another server, another chance
        greetingsSeen = client.greetings();
        offlineBudgetSeconds = kOfflineWaitSeconds;
    }
    auto& budget = tryout ? tryoutBudgetSeconds : offlineBudgetSeconds;
    if (budget <= 0.0) return;
    if (!tryout && !client.worthWaiting()) client.startServer();
    const auto begin = juce::Time::getMillisecondCounterHiRes();
    const auto spent = [begin] {
        return (juce::Time::getMillisecondCounterHiRes() - begin) / 1000.0;
    };
    bool there = false;
    client.waitFor(
        [&] {
            if (!client.settled()) return false;
            core.housekeeping();
            there = core.attached();
            return there || !client.separates();
        },
        budget);
    if (there) return;
    offlineGaveUp = !tryout;
    if (client.settled() && !client.separates()) return;
    budget = tryout ? budget - spent() : 0.0;
}

void Processor::processBlock(juce::AudioBuffer<float>& buffer, juce::MidiBuffer&) {
    const juce::ScopedNoDenormals noDenormals;
    render(buffer.getArrayOfWritePointers(), buffer.getNumChannels(), buffer.getNumSamples(),
           false);
}

void Processor::processBlockBypassed(juce::AudioBuffer<float>& buffer, juce::MidiBuffer&) {
    const juce::ScopedNoDenormals noDenormals;
    render(buffer.getArrayOfWritePointers(), buffer.getNumChannels(), buffer.getNumSamples(), true);
}

void Processor::processBlock(juce::AudioBuffer<double>& buffer, juce::MidiBuffer&) {
    const juce::ScopedNoDenormals noDenormals;
    const int channels = std::min(buffer.getNumChannels(), narrow.getNumChannels());
    for (int from = 0; from < buffer.getNumSamples();) {
        const int count = std::min(buffer.getNumSamples() - from, narrow.getNumSamples());
        if (count <= 0) return;
        for (int c = 0; c < channels; ++c)
            for (int i = 0; i < count; ++i)
                narrow.setSample(c, i, static_cast<float>(buffer.getSample(c, from + i)));
        render(narrow.getArrayOfWritePointers(), channels, count, false);
        for (int c = 0; c < channels; ++c)
            for (int i = 0; i < count; ++i)
                buffer.setSample(c, from + i, static_cast<double>(narrow.getSample(c, i)));
        from += count;
    }
}

void Processor::processBlockBypassed(juce::AudioBuffer<double>& buffer, juce::MidiBuffer& midi) {
    // The wrapper comes here only when the bypass parameter is on, which render() looks at.
    processBlock(buffer, midi);
}

double Processor::getTailLengthSeconds() const {
    return currentPreset()->hasEffects ? 10.0 : 0.0;  // a preset may end in a reverb
}

}  // namespace stembridge
