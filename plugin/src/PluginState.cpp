// See PluginState.h.
#include "PluginState.h"

#include "FactoryPresets.h"

#include <cmath>

namespace stembridge {
namespace {

constexpr int kStateVersion = 1;
constexpr size_t kMaxStateBytes = 160u * 1024u * 1024u;
constexpr int kMaxNesting = 64;
constexpr size_t kMaxLatencies = 32;
const char* const kDefaultAdvice = " The factory default is playing; choose your preset again.";

// Nesting outside of strings; unbalanced text is left to the parser.
bool nestsTooDeeply(const char* text, size_t size) {
    int depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < size; ++i) {
        const char c = text[i];
        if (quoted) {
            if (c == '\\') ++i;
            if (c == '"') quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '[' || c == '{') {
            if (++depth > kMaxNesting) return true;
        } else if (c == ']' || c == '}') {
            --depth;
        }
    }
    return false;
}

int choice(const juce::var& root, const char* field, int count) {
    const auto value = root[field];
    if (!value.isInt()) return 0;
    const auto index = static_cast<int>(value);
    return index >= 0 && index < count ? index : 0;
}

double number(const juce::var& root, const char* field, double low, double high, double fallback) {
    const auto value = root[field];
    if (!value.isInt() && !value.isInt64() && !value.isDouble()) return fallback;
    const auto real = static_cast<double>(value);
    return std::isfinite(real) ? juce::jlimit(low, high, real) : fallback;
}

}  // namespace

const char* toWord(Waiting waiting) noexcept {
    switch (waiting) {
        case Waiting::never:
            return "never";
        case Waiting::always:
            return "always";
        case Waiting::automatic:
            break;
    }
    return "auto";
}

bool parseUntrusted(const void* data, size_t size, juce::var& into) {
    const auto* text = static_cast<const char*>(data);
    if (size == 0 || size > kMaxStateBytes || std::memchr(text, 0, size) != nullptr) return false;
    if (!juce::CharPointer_UTF8::isValidString(text, static_cast<int>(size))) return false;
    if (nestsTooDeeply(text, size)) return false;
    return juce::JSON::parse(juce::String::fromUTF8(text, static_cast<int>(size)), into).wasOk();
}

juce::MemoryBlock PluginState::write() const {
    auto* root = new juce::DynamicObject();
    juce::var owner(root);
    root->setProperty("stembridge_plugin", kStateVersion);
    root->setProperty("version", STEMBRIDGE_VERSION);
    root->setProperty("preset", preset->text);
    root->setProperty("output", outputChoice);
    root->setProperty("mode", modeChoice);
    root->setProperty("target_gain_db", static_cast<double>(targetDb));
    root->setProperty("remainder_gain_db", static_cast<double>(remainderDb));
    root->setProperty("bypass", bypass);
    root->setProperty("waiting", toWord(waiting));
    root->setProperty("editor_scale", editorScale);
    auto* known = new juce::DynamicObject();
    for (const auto& [key, samples] : latencySamples) known->setProperty(key, samples);
    root->setProperty("latency_samples", juce::var(known));
    const auto text = juce::JSON::toString(owner).replace("\r\n", "\n") + "\n";
    return {text.toRawUTF8(), text.getNumBytesAsUTF8()};
}

PluginState PluginState::read(const void* data, int size) {
    PluginState state;
    const auto fallBack = [&state](const juce::String& why) {
        state.preset = factoryPresets().front();
        state.problem = why + kDefaultAdvice;
        return state;
    };
    juce::var root;
    if (data == nullptr || size <= 0 || !parseUntrusted(data, static_cast<size_t>(size), root) ||
        root.getDynamicObject() == nullptr)
        return fallBack("The project's saved state is damaged.");
    const auto version = root["stembridge_plugin"];
    if (!version.isInt() || static_cast<int>(version) < 1)
        return fallBack("The project's saved state is not one of Stembridge.");
    if (static_cast<int>(version) > kStateVersion)
        return fallBack("The project was saved by a newer Stembridge (state " + version.toString() +
                        ").");
    state.outputChoice = choice(root, "output", 4);
    state.modeChoice = choice(root, "mode", 4);
    state.targetDb = static_cast<float>(number(root, "target_gain_db", kOffDb, 12.0, 0.0));
    state.remainderDb = static_cast<float>(number(root, "remainder_gain_db", kOffDb, 12.0, 0.0));
    state.bypass = root["bypass"].isBool() && static_cast<bool>(root["bypass"]);
    for (auto candidate : {Waiting::automatic, Waiting::never, Waiting::always})
        if (root["waiting"].toString() == toWord(candidate)) state.waiting = candidate;
    state.editorScale = number(root, "editor_scale", 1.0, 2.0, 1.0);
    if (auto* known = root["latency_samples"].getDynamicObject())
        for (const auto& entry : known->getProperties())
            if (entry.value.isInt() && static_cast<int>(entry.value) >= 0 &&
                static_cast<int>(entry.value) < 100'000'000 &&
                state.latencySamples.size() < kMaxLatencies)
                state.latencySamples[entry.name.toString()] = static_cast<int>(entry.value);
    juce::String problem;
    const auto text = root["preset"].toString();
    juce::var inner;
    if (text.isNotEmpty() && parseUntrusted(text.toRawUTF8(), text.getNumBytesAsUTF8(), inner))
        state.preset = PresetDocument::parse(text, problem);
    if (state.preset == nullptr) {
        state.outputChoice = 0;
        return fallBack(problem.isEmpty() ? juce::String("The project's preset is damaged.")
                                          : problem);
    }
    return state;
}

}  // namespace stembridge
