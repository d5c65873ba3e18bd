// A VST3 host for tests, on the bare interfaces: 64-bit samples, offline or real time, any block
// sizes, several prepares, and automation of every parameter in every block.
//
//   vst3_host MODULE.so RATE MAX_BLOCK MODE AUTOMATION SEED < in > out
//
// in, out: stereo frames of doubles. MODE: offline or realtime. AUTOMATION: none, gains (both
// gains ramp in each block) or all (mode offline only). The plugin is set up and taken down three times on the way,
// with other sizes first. Prints the latency in samples to stderr. Linux only: it loads by dlopen.
#define INIT_CLASS_IID
#include <pluginterfaces/base/ipluginbase.h>
#include <pluginterfaces/vst/ivstaudioprocessor.h>
#include <pluginterfaces/vst/ivstcomponent.h>
#include <pluginterfaces/vst/ivstparameterchanges.h>

#include <dlfcn.h>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

using namespace Steinberg;
using namespace Steinberg::Vst;

namespace {

void require(bool good, const char* what) {
    if (good) return;
    std::fprintf(stderr, "failed: %s\n", what);
    std::exit(1);
}

// Lives on the stack for the length of a block: nobody may keep it, so it is not counted.
template <class Interface>
struct Unowned : Interface {
    tresult PLUGIN_API queryInterface(const TUID, void** object) override {
        *object = nullptr;
        return kNoInterface;
    }
    uint32 PLUGIN_API addRef() override { return 1; }
    uint32 PLUGIN_API release() override { return 1; }
};

struct Queue final : Unowned<IParamValueQueue> {
    ParamID id = 0;
    std::vector<std::pair<int32, ParamValue>> points;
    ParamID PLUGIN_API getParameterId() override { return id; }
    int32 PLUGIN_API getPointCount() override { return static_cast<int32>(points.size()); }
    tresult PLUGIN_API getPoint(int32 index, int32& offset, ParamValue& value) override {
        if (index < 0 || index >= getPointCount()) return kInvalidArgument;
        offset = points[static_cast<size_t>(index)].first;
        value = points[static_cast<size_t>(index)].second;
        return kResultTrue;
    }
    tresult PLUGIN_API addPoint(int32, ParamValue, int32&) override { return kNotImplemented; }
};

struct Changes final : Unowned<IParameterChanges> {
    std::vector<Queue> queues;
    int32 PLUGIN_API getParameterCount() override { return static_cast<int32>(queues.size()); }
    IParamValueQueue* PLUGIN_API getParameterData(int32 index) override {
        return index < 0 || index >= getParameterCount() ? nullptr
                                                         : &queues[static_cast<size_t>(index)];
    }
    IParamValueQueue* PLUGIN_API addParameterData(const ParamID&, int32&) override {
        return nullptr;
    }
};

ParamID idOf(const char* name) {  // as JUCE makes it
    uint32 hash = 0;
    for (; *name != 0; ++name) hash = hash * 31 + static_cast<unsigned char>(*name);
    return hash & 0x7fffffff;
}

template <class Interface>
Interface* ask(FUnknown* object) {
    void* found = nullptr;
    require(object->queryInterface(Interface::iid, &found) == kResultOk, "queryInterface");
    return static_cast<Interface*>(found);
}

IComponent* load(const char* path) {
    void* module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    require(module != nullptr, "dlopen");
    const auto enter = reinterpret_cast<bool (*)(void*)>(dlsym(module, "ModuleEntry"));
    const auto make =
        reinterpret_cast<IPluginFactory* (*)()>(dlsym(module, "GetPluginFactory"));
    require(enter != nullptr && make != nullptr && enter(module), "ModuleEntry");
    auto* factory = make();
    for (int32 i = 0; i < factory->countClasses(); ++i) {
        PClassInfo info;
        void* made = nullptr;
        if (factory->getClassInfo(i, &info) == kResultOk &&
            std::strcmp(info.category, kVstAudioEffectClass) == 0 &&
            factory->createInstance(info.cid, IComponent::iid, &made) == kResultOk)
            return static_cast<IComponent*>(made);
    }
    require(false, "no audio effect in the module");
    return nullptr;
}

void activate(IComponent* component, IAudioProcessor* processor, double rate, int32 block,
              int32 mode) {
    SpeakerArrangement stereo = SpeakerArr::kStereo;
    require(processor->canProcessSampleSize(kSample64) == kResultTrue, "64-bit samples");
    require(processor->setBusArrangements(&stereo, 1, &stereo, 1) == kResultTrue, "buses");
    ProcessSetup setup{mode, kSample64, block, rate};
    require(processor->setupProcessing(setup) == kResultOk, "setupProcessing");
    component->activateBus(kAudio, kInput, 0, true);
    component->activateBus(kAudio, kOutput, 0, true);
    require(component->setActive(true) == kResultOk, "setActive");
    processor->setProcessing(true);
}

}  // namespace

int main(int count, char** words) {
    require(count == 7, "arguments: MODULE RATE MAX_BLOCK MODE AUTOMATION SEED");
    const double rate = std::atof(words[2]);
    const int32 most = std::atoi(words[3]);
    const int32 mode = std::string(words[4]) == "offline" ? kOffline : kRealtime;
    const std::string automation = words[5];
    std::mt19937 random(static_cast<unsigned>(std::atoi(words[6])));
    const auto share = [&random] { return std::uniform_real_distribution<double>(0, 1)(random); };

    std::vector<double> audio;
    double frame[2];
    while (std::fread(frame, sizeof frame, 1, stdin) == 1)
        audio.insert(audio.end(), {frame[0], frame[1]});
    const auto total = static_cast<int32>(audio.size() / 2);

    auto* component = load(words[1]);
    require(component->initialize(nullptr) == kResultOk, "initialize");
    auto* processor = ask<IAudioProcessor>(component);
    for (const auto& [oddRate, oddBlock] : {std::pair{44100.0, 1}, std::pair{192000.0, 4097}}) {
        activate(component, processor, oddRate, oddBlock, kRealtime);
        component->setActive(false);
    }
    activate(component, processor, rate, most, mode);
    std::fprintf(stderr, "%u\n", processor->getLatencySamples());

    std::vector<double> left(static_cast<size_t>(most)), right(left), results;
    double gains[2] = {0.8, 0.8};
    for (int32 at = 0; at < total;) {
        const int32 samples =
            std::min(total - at, 1 + static_cast<int32>(share() * (most - 1) + 0.5));
        for (int32 i = 0; i < samples; ++i) {
            left[static_cast<size_t>(i)] = audio[static_cast<size_t>(2 * (at + i))];
            right[static_cast<size_t>(i)] = audio[static_cast<size_t>(2 * (at + i) + 1)];
        }
        Changes changes;
        const auto automate = [&](const char* name, std::vector<std::pair<int32, double>> points) {
            Queue queue;
            queue.id = idOf(name);
            queue.points = std::move(points);
            changes.queues.push_back(queue);
        };
        if (automation != "none") {
            const char* const names[] = {"target_gain", "remainder_gain"};
            for (int i = 0; i < 2; ++i) {
                const double next = share();
                automate(names[i], {{0, gains[i]}, {samples - 1, next}});
                gains[i] = next;
            }
        }
        if (automation == "all") {
            for (const char* name : {"preset", "output", "bypass"})
                automate(name, {{samples / 2, share()}});
            // In real time a mode of many seconds pauses the audio, as the manual says.
            if (mode == kOffline) automate("mode", {{samples / 2, share()}});
        }
        double* channels[] = {left.data(), right.data()};
        AudioBusBuffers buffers;
        buffers.numChannels = 2;
        buffers.channelBuffers64 = channels;
        ProcessData data;
        data.processMode = mode;
        data.symbolicSampleSize = kSample64;
        data.numSamples = samples;
        data.numInputs = data.numOutputs = 1;
        data.inputs = data.outputs = &buffers;
        data.inputParameterChanges = &changes;
        require(processor->process(data) == kResultOk, "process");
        for (int32 i = 0; i < samples; ++i)
            results.insert(results.end(),
                           {left[static_cast<size_t>(i)], right[static_cast<size_t>(i)]});
        at += samples;
    }
    std::fwrite(results.data(), sizeof(double), results.size(), stdout);
    std::fflush(stdout);
    processor->setProcessing(false);
    component->setActive(false);
    processor->release();
    require(component->terminate() == kResultOk, "terminate");
    component->release();
    return 0;
}
