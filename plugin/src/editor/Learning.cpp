// See Learning.h.
#include "Learning.h"

namespace stembridge {
namespace {

constexpr float kTapeSeconds = 30.0f;
constexpr float kProbeSeconds = 10.0f;

}  // namespace

Learning::Learning(Processor& owner, Spectrogram& shown, NamePanel& names)
    : processor(owner), picture(shown) {
    auto& client = processor.client;
    panel.onArm = [&client](bool on) { client.learn({{"arm", {on ? kTapeSeconds : 0.0f}}}); };
    panel.onLast = [this](double seconds) {
        picture.select({status.shownSeconds - seconds, status.shownSeconds});
    };
    panel.onMark = [this, &client] {
        client.learn(markStep());
        picture.select({});
    };
    panel.onForget = [&client] { client.learn({{"forget", {-1}}}); };
    panel.onTry = [this] { teach("use"); };
    panel.onLearn = [this] { teach("tune"); };
    panel.onCancel = [&client](bool keep) { client.learn({{"cancel", {keep ? 1 : 0}}}); };
    panel.onAudition = [&client](bool learned) {
        client.learn({{"audition", {learned ? 1 : 0}}});
    };
    panel.onSave = [this, &names, &client] {
        names.ask("Save what was learned as", {}, [this, &client](const juce::String& name) {
            client.learn({{"save", {name.toStdString(), isUserPreset(name) ? 1 : 0}}});
        });
    };
    probe.onCheck = [&client] { client.probe(kProbeSeconds); };
}

void Learning::setOpen(bool shown) {
    open = shown;
    if (!open) picture.setTape({});
}

void Learning::refresh(const ServerView& view) {
    status = LearnStatus::of(view);
    presets = view.presets;
    picture.setTape(open && status.armed() ? status.tape() : juce::Range<double>());
    panel.show(status, picture.selection().getLength());
    probe.show(ProbeStatus::of(view));
}

// The selection as seconds ago, counted from a place, so that what plays meanwhile moves nothing.
std::vector<LearnStep> Learning::markStep() const {
    const auto chosen = picture.selection();
    if (chosen.isEmpty()) return {};
    const auto at = status.tapedSeconds;
    const auto ago = [at](double place) { return static_cast<float>(std::max(0.0, at - place)); };
    return {{"mark", {ago(chosen.getStart()), ago(chosen.getEnd()), static_cast<float>(at)}}};
}

void Learning::teach(const char* verb) {
    auto steps = markStep();
    if (status.marks > 0) steps.clear();  // the examples that were collected, and no other
    steps.push_back({verb, {std::string(panel.side() == Side::keep ? "keep" : "remove")}});
    processor.client.learn(std::move(steps));
    picture.select({});
}

bool Learning::isUserPreset(const juce::String& name) const {
    for (const auto& row : presets)
        if (row.group == "user" && row.name == name) return true;
    return false;
}

}  // namespace stembridge
