// The requests of learning and probing, what the session's own prompts become here, and the report
// of a dry render. See ServerClient.h.
//
// Prompts that were made on the server (learned, clips, another client's) come back as the
// session's preset. The plugin's preset takes them over; it is not sent again, because for the
// server prompts of another text are other prompts.
#include "ServerClient.h"

#include <cmath>

namespace stembridge {
namespace {

constexpr size_t kMaxColumns = 512;
constexpr double kLearnTimeoutSeconds = 120.0;  // examples may have to be encoded

juce::String utf8(const std::string& text) {
    return juce::String::fromUTF8(text.c_str());
}

}  // namespace

void ServerClient::learn(std::vector<LearnStep> steps) {
    auto shared = std::make_shared<std::vector<LearnStep>>(std::move(steps));
    post([this, shared] { nextStep(shared, 0); });
}

void ServerClient::nextStep(std::shared_ptr<std::vector<LearnStep>> steps, size_t index) {
    if (index >= steps->size()) return;
    if (stage != Stage::open) {
        change([](ServerView& v) { v.error = "Learning needs the server and its session."; });
        return;
    }
    const auto& step = (*steps)[index];
    const auto path = sessionPath("learn/") + step.verb;
    request(
        path, step.arguments, kLearnTimeoutSeconds,
        [this, steps, index](const Replies& replies, const OscMessage* error) {
            if (error != nullptr) {
                showError(*error);
                return;
            }
            change([](ServerView& v) { v.error.clear(); });
            const auto& verb = (*steps)[index].verb;
            if (verb == "use" || verb == "audition" || verb == "save") adoptPrompts();
            if (verb == "save") {
                change([&](ServerView& v) { v.notice = "Saved as " + utf8(replies[0].text(1)); });
                listPresets();
            }
            nextStep(steps, index + 1);
        });
}

void ServerClient::probe(float seconds) {
    post([this, seconds] {
        if (stage != Stage::open) return;
        request(sessionPath("probe/start"), {seconds}, 10.0,
                [this](const Replies&, const OscMessage* error) {
                    if (error != nullptr) showError(*error);
                });
    });
}

void ServerClient::adoptPrompts() {
    fetchText(sessionPath("preset/get"), {}, 5, [this](const juce::String& text) {
        juce::String problem;
        if (auto preset = PresetDocument::parse(text, problem))
            if (auto own = delegate.promptsUnderstood(preset)) adopted = own;
    });
}

void ServerClient::takeAdopted(const SessionWish& wish) {
    if (adopted == nullptr || wish.preset != adopted || stage != Stage::open) return;
    const std::lock_guard<std::mutex> hold(decidedLock);
    if (decidedWish.preset == applied.preset) decidedWish.preset = wish.preset;
    applied.preset = wish.preset;
    adopted = nullptr;
}

void ServerClient::reportDryRender() {
    if (stage != Stage::open) {
        reportedDry = 0;  // the next session knows of none
        return;
    }
    const int dry = delegate.drySamples();
    if (dry == reportedDry) return;
    reportedDry = dry;
    request(sessionPath("render/report"), {dry}, 10.0, {});
}

void ServerClient::takeSpectrumColumn(const OscMessage& message) {
    SpectrumColumn column;
    const auto take = [&](size_t index, std::array<uint8_t, kSpectrumBands>& into) {
        if (index < message.arguments.size())
            if (const auto* blob = std::get_if<OscBlob>(&message.arguments[index]))
                std::copy_n(blob->begin(), std::min(blob->size(), into.size()), into.begin());
    };
    take(0, column.target);
    take(1, column.remainder);
    const auto place = static_cast<double>(message.number(2, -1.0f));
    if (std::isfinite(place)) column.place = place;
    const std::lock_guard<std::mutex> hold(viewLock);
    if (spectrum.size() >= kMaxColumns) spectrum.pop_front();
    spectrum.push_back(column);
}

}  // namespace stembridge
