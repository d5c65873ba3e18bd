// See Processor.h.
#include "Processor.h"

#include "Editor.h"
#include "LatencyGuess.h"

#include <cmath>

namespace stembridge {
namespace {

constexpr double kPrepareWaitSeconds =
    0.4;  // for a server that is there, never for one that is not
constexpr double kOfflineWaitSeconds = 30.0;
constexpr double kRoomSeconds = 1.5;              // of latency that can be set without a new link
constexpr juce::int64 kTryoutSamples = 11 * 512;  // what pedalboard pushes through on loading

}  // namespace

Processor::Processor()
    : AudioProcessor(BusesProperties()
                         .withInput("Input", juce::AudioChannelSet::stereo())
                         .withOutput("Output", juce::AudioChannelSet::stereo())),
      parameters(*this),
      client(*this),
      custom(factoryPresets().front()),
      offlineBudgetSeconds(kOfflineWaitSeconds),
      tryoutBudgetSeconds(kPrepareWaitSeconds) {
    client.onPresetFetched = [this](PresetDocument::Ptr preset) {
        const std::lock_guard<std::mutex> hold(lock);
        changes.emplace_back("fetched", preset->text);
        triggerAsyncUpdate();
    };
    setLatencySamples(guessLatency("unet", effectiveMode(), 44100.0, 512));
    client.start();
}

Processor::~Processor() {
    client.stop();
    cancelPendingUpdate();
}

// --- preparing and audio ---------------------------------------------------------------------

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

// --- presets ---------------------------------------------------------------------------------

PresetDocument::Ptr Processor::currentPreset() const {
    const auto slot = static_cast<size_t>(parameters.preset->getIndex());
    const auto& factory = factoryPresets();
    if (slot >= 1 && slot <= factory.size()) return factory[slot - 1];
    const std::lock_guard<std::mutex> hold(lock);
    return custom;
}

Mode Processor::effectiveMode() const {
    const int choice = parameters.mode->getIndex();
    return choice == 0 ? currentPreset()->mode : static_cast<Mode>(choice - 1);
}

Output Processor::effectiveOutput() const {
    const int choice = parameters.output->getIndex();
    return choice == 0 ? heard().output : static_cast<Output>(choice - 1);
}

float Processor::effectiveTargetDb() const {
    const float own = heard().targetDb, trim = parameters.targetDb->get();
    return own <= kOffDb || trim <= kOffDb ? kOffDb : std::max(kOffDb, own + trim);
}

float Processor::effectiveRemainderDb() const {
    const float own = heard().remainderDb, trim = parameters.remainderDb->get();
    return own <= kOffDb || trim <= kOffDb ? kOffDb : std::max(kOffDb, own + trim);
}

SessionWish Processor::sessionWish() {
    SessionWish wish;
    wish.preset = currentPreset();
    const int modeChoice = parameters.mode->getIndex();
    const int outputChoice = parameters.output->getIndex();
    wish.mode = modeChoice == 0 ? wish.preset->mode : static_cast<Mode>(modeChoice - 1);
    wish.output = outputChoice == 0 ? wish.preset->output : static_cast<Output>(outputChoice - 1);
    wish.targetDb = effectiveTargetDb();
    wish.remainderDb = effectiveRemainderDb();
    const std::lock_guard<std::mutex> hold(lock);
    wish.link = link;
    wish.sampleRate = preparedRate;
    wish.maxBlock = preparedBlock;
    return wish;
}

void Processor::chooseFactory(int index) {
    *parameters.output = 0;
    *parameters.targetDb = 0.0f;
    *parameters.remainderDb = 0.0f;
    *parameters.preset = index + 1;
}

void Processor::choosePreset(PresetDocument::Ptr preset) {
    if (preset == nullptr) return;
    {
        const std::lock_guard<std::mutex> hold(lock);
        custom = preset;
    }
    customOutput = preset->output;
    customTargetDb = preset->targetDb;
    customRemainderDb = preset->remainderDb;
    *parameters.preset = 0;
}

void Processor::setPrompts(Side side, const juce::String& words) {
    if (auto edited = currentPreset()->withPrompts(side, words)) choosePreset(edited);
}

// --- news from the client's thread -------------------------------------------------------------

void Processor::latencyKnown(const juce::String& key, int samples) {
    {
        const std::lock_guard<std::mutex> hold(lock);
        auto& known = latencies[key];
        if (known == samples) return;
        known = samples;
    }
    triggerAsyncUpdate();
}

void Processor::changedElsewhere(const juce::String& key, const juce::String& value) {
    {
        const std::lock_guard<std::mutex> hold(lock);
        if (changes.size() < 64) changes.emplace_back(key, value);
    }
    triggerAsyncUpdate();
}

PresetDocument::Ptr Processor::promptsUnderstood(PresetDocument::Ptr preset) {
    const auto before = currentPreset();
    if (before->asksLike(*preset)) return nullptr;
    auto after = before->withPromptsOf(*preset);
    if (after == nullptr) return nullptr;
    {
        const std::lock_guard<std::mutex> hold(lock);
        if (understood.size() < 64) understood.emplace_back(before, after);
    }
    triggerAsyncUpdate();
    return after;
}

// Message thread.
void Processor::handleAsyncUpdate() {
    applyLatency();
    std::vector<std::pair<juce::String, juce::String>> todo;
    std::vector<std::pair<PresetDocument::Ptr, PresetDocument::Ptr>> news;
    {
        const std::lock_guard<std::mutex> hold(lock);
        todo.swap(changes);
        news.swap(understood);
    }
    for (const auto& [before, after] : news)
        if (currentPreset() == before) choosePreset(after);  // else another was chosen meanwhile
    for (const auto& [key, value] : todo) {
        juce::String ignored;
        if (key == "fetched") {
            auto preset = PresetDocument::parse(value, ignored);
            if (preset == nullptr) continue;
            *parameters.output = 0;
            *parameters.targetDb = 0.0f;
            *parameters.remainderDb = 0.0f;
            choosePreset(preset);
        } else if (key == "preset") {
            if (const int index = factoryIndexOf(value); index >= 0)
                chooseFactory(index);
            else
                client.fetchPreset(value);
        } else if (key == "output") {
            Output output;
            if (fromWord(value, output)) *parameters.output = static_cast<int>(output) + 1;
        } else if (key == "mode") {
            Mode mode;
            if (fromWord(value, mode)) *parameters.mode = static_cast<int>(mode) + 1;
        } else if (key == "target_gain_db") {
            *parameters.targetDb = value.getFloatValue() - heard().targetDb;
        } else if (key == "remainder_gain_db") {
            *parameters.remainderDb = value.getFloatValue() - heard().remainderDb;
        } else if (key == "bypass") {
            *parameters.bypass = value.getIntValue() != 0;
        }
    }
}

// --- state -------------------------------------------------------------------------------------

void Processor::getStateInformation(juce::MemoryBlock& into) {
    PluginState state;
    state.preset = currentPreset();
    state.outputChoice = parameters.output->getIndex();
    state.modeChoice = parameters.mode->getIndex();
    state.targetDb = parameters.targetDb->get();
    state.remainderDb = parameters.remainderDb->get();
    state.bypass = parameters.bypass->get();
    state.waiting = waitingChoice;
    state.editorScale = editorScale;
    {
        const std::lock_guard<std::mutex> hold(lock);
        state.latencySamples = latencies;
    }
    into = state.write();
}

void Processor::setStateInformation(const void* data, int size) {
    const auto state = PluginState::read(data, size);
    {
        const std::lock_guard<std::mutex> hold(lock);
        problem = state.problem;
        for (const auto& entry : state.latencySamples) latencies.insert(entry);
    }
    const int index = factoryIndexOf(*state.preset);
    if (index >= 0)
        *parameters.preset = index + 1;
    else
        choosePreset(state.preset);
    *parameters.output = state.outputChoice;
    *parameters.mode = state.modeChoice;
    *parameters.targetDb = state.targetDb;
    *parameters.remainderDb = state.remainderDb;
    *parameters.bypass = state.bypass;
    waitingChoice = state.waiting;
    editorScale = state.editorScale;
    triggerAsyncUpdate();
}

juce::String Processor::stateProblem() const {
    const std::lock_guard<std::mutex> hold(lock);
    return problem;
}

void Processor::dismissStateProblem() {
    const std::lock_guard<std::mutex> hold(lock);
    problem.clear();
}

juce::AudioProcessorEditor* Processor::createEditor() {
    return new Editor(*this);
}

}  // namespace stembridge

juce::AudioProcessor* JUCE_CALLTYPE createPluginFilter() {
    return new stembridge::Processor();
}
