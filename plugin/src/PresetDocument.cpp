// See PresetDocument.h. Strict about what the plugin itself uses, silent about the rest.
#include "PresetDocument.h"

#include <cmath>

namespace stembridge {
namespace {

constexpr int kMaxTextBytes = 64 * 1024 * 1024;
constexpr int kFormatVersion = 1;
constexpr float kMaxDb = 24.0f;
constexpr size_t kMaxMessageBytes = 8000;  // of a preset that is asked about, not sent

const char* const kFallbackText = R"({
  "stembridge_preset": 1,
  "name": "Vocals",
  "description": "The voice alone",
  "separator": "unet",
  "output": "target",
  "keep": [
    "vocals"
  ]
}
)";

// What one prompt is called on the surface.
juce::String labelOf(const juce::var& prompt) {
    if (prompt.isString()) return prompt.toString();
    if (prompt.hasProperty("text")) return prompt["text"].toString();
    if (prompt.hasProperty("tuned"))
        return prompt["tuned"].getProperty("label", "tuned").toString();
    if (prompt.hasProperty("example")) {
        const auto clips = prompt["example"];
        const auto first = clips.isArray() && clips.size() > 0 ? clips[0] : juce::var();
        auto label = first.getProperty("label", juce::var()).toString();
        if (label.isEmpty())
            label = juce::File::createFileWithoutCheckingPath(
                        first.getProperty("path", juce::var()).toString())
                        .getFileNameWithoutExtension();
        label = label.removeCharacters(",");
        return label.isEmpty() ? juce::String("example") : label;
    }
    return {};
}

juce::String listOf(const juce::var& prompts) {
    juce::StringArray words;
    if (const auto* array = prompts.getArray())
        for (const auto& prompt : *array) words.add(labelOf(prompt));
    words.removeEmptyStrings();
    return words.joinIntoString(", ");
}

bool readGain(const juce::var& root, const char* field, float& into) {
    const auto value = root[field];
    if (value.isVoid()) return true;
    if (value.isString() && value.toString() == "-inf") {
        into = kOffDb;
        return true;
    }
    const bool number = value.isInt() || value.isInt64() || value.isDouble();
    const auto db = static_cast<double>(value);
    if (!number || !std::isfinite(db) || db > static_cast<double>(kMaxDb)) return false;
    into = std::max(kOffDb, static_cast<float>(db));
    return true;
}

juce::var cloneObject(const juce::var& root) {
    return root.clone();
}

void set(juce::var& root, const char* field, const juce::var& value) {
    root.getDynamicObject()->setProperty(field, value);
}

juce::String latencyTextOf(const juce::var& root, const juce::String& separator) {
    const bool chosenByPrompts = separator == "auto";
    auto* options = root["options"].getDynamicObject();
    if (!chosenByPrompts && (options == nullptr || options->getProperties().isEmpty())) return {};
    const juce::var asked(new juce::DynamicObject());
    for (const char* field : {"stembridge_preset", "separator", "options"})
        if (root.hasProperty(field)) asked.getDynamicObject()->setProperty(field, root[field]);
    asked.getDynamicObject()->setProperty("name", "any");
    for (const char* field : {"keep", "remove"})
        if (chosenByPrompts && root.hasProperty(field))
            asked.getDynamicObject()->setProperty(field, root[field]);
    if (!chosenByPrompts)  // then any prompt will do, and clips may be many
        asked.getDynamicObject()->setProperty("keep", juce::Array<juce::var>{juce::var("any")});
    const auto text = juce::JSON::toString(asked, true);
    return text.getNumBytesAsUTF8() <= kMaxMessageBytes ? text : juce::String();
}

}  // namespace

const char* toWord(Output output) noexcept {
    switch (output) {
        case Output::target:
            return "target";
        case Output::remainder:
            return "remainder";
        case Output::mix:
            break;
    }
    return "mix";
}

const char* toWord(Mode mode) noexcept {
    switch (mode) {
        case Mode::live:
            return "live";
        case Mode::mix:
            return "mix";
        case Mode::render:
            break;
    }
    return "render";
}

bool fromWord(const juce::String& word, Output& into) noexcept {
    for (auto value : {Output::target, Output::remainder, Output::mix})
        if (word == toWord(value)) {
            into = value;
            return true;
        }
    return false;
}

bool fromWord(const juce::String& word, Mode& into) noexcept {
    for (auto value : {Mode::live, Mode::mix, Mode::render})
        if (word == toWord(value)) {
            into = value;
            return true;
        }
    return false;
}

float gainFromDb(float db) noexcept {
    return db <= kOffDb ? 0.0f : std::pow(10.0f, db / 20.0f);
}

PresetDocument::Ptr PresetDocument::parse(const juce::String& text, juce::String& problem) {
    if (text.getNumBytesAsUTF8() > static_cast<size_t>(kMaxTextBytes)) {
        problem = "The preset is larger than 64 MB. Save it again with shorter examples.";
        return nullptr;
    }
    juce::var root;
    const auto result = juce::JSON::parse(text, root);
    if (result.failed() || root.getDynamicObject() == nullptr) {
        problem = "The preset is not readable JSON. Load it from its file again.";
        return nullptr;
    }
    auto made = std::const_pointer_cast<PresetDocument>(fromRoot(root, problem));
    if (made != nullptr) made->text = text;
    return made;
}

PresetDocument::Ptr PresetDocument::fromRoot(const juce::var& root, juce::String& problem) {
    const auto version = root["stembridge_preset"];
    if (!(version.isInt() || version.isInt64()) || static_cast<int>(version) < 1) {
        problem = "This is not a Stembridge preset.";
        return nullptr;
    }
    if (static_cast<int>(version) > kFormatVersion) {
        problem = "The preset was written by a newer Stembridge (format " + version.toString() +
                  "). Update Stembridge to use it.";
        return nullptr;
    }
    auto made = std::make_shared<PresetDocument>();
    made->root = root;
    made->name = root["name"].toString().substring(0, 200);
    made->group = root["group"].toString();
    made->description = root["description"].toString();
    made->keep = listOf(root["keep"]);
    made->remove = listOf(root["remove"]);
    if (root.hasProperty("separator")) made->separator = root["separator"].toString();
    juce::String wrong;
    if (made->name.isEmpty()) wrong = "name";
    if (root.hasProperty("output") && !fromWord(root["output"].toString(), made->output))
        wrong = "output";
    if (root.hasProperty("mode")) {
        made->hasOwnMode = fromWord(root["mode"].toString(), made->mode);
        if (!made->hasOwnMode) wrong = "mode";
    }
    if (!readGain(root, "target_gain_db", made->targetDb)) wrong = "target_gain_db";
    if (!readGain(root, "remainder_gain_db", made->remainderDb)) wrong = "remainder_gain_db";
    if (made->keep.isEmpty() && made->remove.isEmpty()) wrong = "keep";
    if (wrong.isNotEmpty()) {
        problem = "The preset's field \"" + wrong + "\" is missing or wrong. Load it again.";
        return nullptr;
    }
    made->latencyText = latencyTextOf(root, made->separator);
    const auto* effects = root["effects"].getArray();
    made->hasEffects = effects != nullptr && !effects->isEmpty();
    made->text = juce::JSON::toString(root).replace("\r\n", "\n") + "\n";
    return made;
}

PresetDocument::Ptr PresetDocument::fallback() {
    juce::String problem;
    auto made = parse(juce::String::fromUTF8(kFallbackText), problem);
    jassert(made != nullptr);
    return made;
}

PresetDocument::Ptr PresetDocument::withPrompts(Side side, const juce::String& words) const {
    auto copy = cloneObject(root);
    const char* field = side == Side::keep ? "keep" : "remove";
    juce::Array<juce::var> prompts;
    auto wanted = juce::StringArray::fromTokens(words, ",", "");
    wanted.trim();
    wanted.removeEmptyStrings();
    wanted.removeDuplicates(true);
    const auto* present = root[field].getArray();
    for (const auto& word : wanted) {
        juce::var prompt(word);
        if (present != nullptr)
            for (const auto& old : *present)
                if (labelOf(old) == word) prompt = old.clone();
        prompts.add(prompt);
    }
    if (prompts.isEmpty())
        copy.getDynamicObject()->removeProperty(field);
    else
        set(copy, field, prompts);
    juce::String problem;
    return fromRoot(copy, problem);  // null when both sides are empty
}

bool PresetDocument::asksLike(const PresetDocument& other) const {
    const auto words = [](const juce::var& value) { return juce::JSON::toString(value, true); };
    return name == other.name && words(root["keep"]) == words(other.root["keep"]) &&
           words(root["remove"]) == words(other.root["remove"]);
}

PresetDocument::Ptr PresetDocument::withPromptsOf(const PresetDocument& other) const {
    auto copy = cloneObject(root);
    for (const char* field : {"keep", "remove", "tuning", "name", "group", "description"}) {
        if (other.root.hasProperty(field))
            set(copy, field, other.root[field].clone());
        else
            copy.getDynamicObject()->removeProperty(field);
    }
    juce::String problem;
    return fromRoot(copy, problem);
}

PresetDocument::Ptr PresetDocument::withName(const juce::String& newName) const {
    auto copy = cloneObject(root);
    set(copy, "name", newName);
    juce::String problem;
    return fromRoot(copy, problem);
}

juce::String PresetDocument::effectiveText(Output newOutput, float newTargetDb,
                                           float newRemainderDb, Mode newMode) const {
    auto copy = cloneObject(root);
    const auto gain = [](float db) -> juce::var {
        if (db <= kOffDb) return "-inf";
        return static_cast<double>(db);
    };
    set(copy, "output", toWord(newOutput));
    set(copy, "mode", toWord(newMode));
    set(copy, "target_gain_db", gain(newTargetDb));
    set(copy, "remainder_gain_db", gain(newRemainderDb));
    return juce::JSON::toString(copy, true);
}

}  // namespace stembridge
