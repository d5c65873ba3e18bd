// See Processor.h. What the plugin is to its host: presets, parameters, state; preparing and audio
// are in ProcessorAudio.cpp.
#include "Processor.h"

#include "Editor.h"
#include "LatencyGuess.h"

#include <cmath>

namespace stembridge {

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
