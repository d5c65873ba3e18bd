// See ServerClient.h. The session on the server: what it is to play and what it plays, kept equal;
// and those who wait for it.
#include "ServerClient.h"

#include <cmath>

namespace stembridge {
namespace {

constexpr double kPatienceMs = 6000.0;  // from then on, nobody waits for a silent server
constexpr double kAskAgainMs = 2000.0;  // a server that has no room may have some later
constexpr double kNever = 1e300;
constexpr double kTrustMs = 10000.0;  // a server may forget whom it trusts, but not so soon
constexpr double kOpenTimeoutSeconds = 120.0;  // weights may have to load
constexpr float kWatchedHz = 20.0f;
constexpr float kIdleHz = 2.0f;

double nowMs() {
    return juce::Time::getMillisecondCounterHiRes();
}

bool sameGains(const SessionWish& a, const SessionWish& b) {
    constexpr float step = 0.001f;  // dB
    return a.output == b.output && std::abs(a.targetDb - b.targetDb) < step &&
           std::abs(a.remainderDb - b.remainderDb) < step;
}

bool sameTask(const SessionWish& a, const SessionWish& b) {
    return a.preset == b.preset && a.mode == b.mode && a.link == b.link;
}

// Gains and output act in the plugin itself, unless effects run on the server after them.
bool sameSound(const SessionWish& a, const SessionWish& b) {
    return sameTask(a, b) && (sameGains(a, b) || !a.preset->hasEffects);
}

}  // namespace

void ServerClient::synchronise() {
    const auto wish = delegate.sessionWish();
    if (wish.preset == nullptr) return;
    takeAdopted(wish);
    if (wish.sampleRate > 0 && latencyAsked != wish.latencyKey().toStdString()) {
        latencyAsked = wish.latencyKey().toStdString();
        request("/latency/get",
                {wish.preset->separator.toStdString(), std::string(toWord(wish.mode)),
                 wish.sampleRate, wish.maxBlock, 0, wish.preset->latencyText.toStdString()},
                kOpenTimeoutSeconds, [this, wish](const Replies& replies, const OscMessage*) {
                    if (!replies.empty()) readLatency(replies[0], 1, wish);
                });
    }
    if (stage == Stage::ready) {
        if (wish.link.isEmpty()) {
            change([](ServerView& v) { v.phase = ServerPhase::opening; });
            return;
        }
        if (refused && sameTask(wish, applied) && nowMs() < askAgainMs) return;
        openSession(wish);
        return;
    }
    if (stage != Stage::open || outstandingChanges > 0) return;
    if (wish.link != applied.link) {
        send(sessionPath("link/close"));  // another channel count: a new link, so a new session
        stage = Stage::ready;
        openSession(wish);
        return;
    }
    // The server plays the former preset on when it refuses one. Heard under the name of another it
    // would be a lie, so the session ends: aligned dry, and the reason in words.
    const auto unless = [this, wish](const OscMessage* error) {
        --outstandingChanges;
        if (error == nullptr) return decide(wish, true);
        if (stage == Stage::open && error->text(1) != "gone") send(sessionPath("link/close"));
        refuse(wish, *error);
    };
    if (wish.preset != applied.preset) {
        ++outstandingChanges;
        applied.preset = wish.preset;
        applied.output = wish.output;
        applied.targetDb = wish.targetDb;
        applied.remainderDb = wish.remainderDb;
        applied.mode = wish.mode;
        change([](ServerView& v) { v.error.clear(); });
        sendPreset(
            wish.preset->effectiveText(wish.output, wish.targetDb, wish.remainderDb, wish.mode),
            [this, wish, unless](const Replies& replies, const OscMessage* error) {
                if (error == nullptr && !replies.empty()) {
                    readLatency(replies.back(), 2, wish);
                    change([](ServerView& v) { v.notice.clear(); });
                }
                unless(error);
            });
        return;
    }
    if (wish.mode != applied.mode) {
        ++outstandingChanges;
        applied.mode = wish.mode;
        change([](ServerView& v) { v.error.clear(); });
        request(sessionPath("mode/set"), {std::string(toWord(wish.mode))}, kOpenTimeoutSeconds,
                [this, wish, unless](const Replies& replies, const OscMessage* error) {
                    if (error == nullptr) readLatency(replies[0], 2, wish);
                    unless(error);
                });
        return;
    }
    if (!sameGains(wish, applied)) {
        ++outstandingChanges;
        const bool newOutput = wish.output != applied.output;
        applied.output = wish.output;
        applied.targetDb = wish.targetDb;
        applied.remainderDb = wish.remainderDb;
        if (newOutput)
            request(sessionPath("output/set"), {std::string(toWord(wish.output))}, 10.0, {});
        request(sessionPath("gain/set"),
                {juce::jlimit(kOffDb, 12.0f, wish.targetDb),
                 juce::jlimit(kOffDb, 12.0f, wish.remainderDb)},
                10.0, [this, wish](const Replies&, const OscMessage* error) {
                    --outstandingChanges;
                    if (error != nullptr && error->text(1) != "gone") showError(*error);
                    decide(wish, true);
                });
    }
}

void ServerClient::openSession(const SessionWish& wish) {
    stage = Stage::presetSent;
    applied = wish;
    {
        const std::lock_guard<std::mutex> hold(decidedLock);
        decided = false;
    }
    change([](ServerView& v) { v.phase = ServerPhase::opening; });
    const auto opened = [this, wish](const Replies& replies, const OscMessage* error) {
        if (error != nullptr) return refuse(wish, *error);
        if (stage != Stage::presetSent) return;
        stage = Stage::open;
        refused = false;
        readLatency(replies[0], 1, wish);
        change([](ServerView& v) {
            v.phase = ServerPhase::connected;
            v.error.clear();
            v.notice.clear();
        });
        subscribe();
        decide(wish, true);
    };
    sendPreset(wish.preset->effectiveText(wish.output, wish.targetDb, wish.remainderDb, wish.mode),
               [this, wish, opened](const Replies&, const OscMessage* error) {
                   if (error != nullptr) return refuse(wish, *error);
                   request(sessionPath("link/open"), {wish.link.toStdString(), std::string{}},
                           kOpenTimeoutSeconds, opened);
               });
}

void ServerClient::refuse(const SessionWish& wish, const OscMessage& error) {
    if (stage == Stage::away || error.text(1) == "gone") return;
    if (error.text(1) == "forbidden" && nowMs() - greetedMs > kTrustMs)  // greet it again
        return lose("The server has forgotten this plugin.", nowMs());
    stage = Stage::ready;
    if (error.text(1) == "timeout") return;  // it is tried again
    refused = true;
    askAgainMs = error.text(1) == "busy" ? nowMs() + kAskAgainMs : kNever;
    change([&](ServerView& v) {
        v.phase = ServerPhase::refused;
        v.error = juce::String::fromUTF8(error.text(2).c_str());
    });
    decide(wish, false);
}

void ServerClient::decide(const SessionWish& about, bool taken) {
    {
        const std::lock_guard<std::mutex> hold(decidedLock);
        decided = true;
        separating = taken;
        decidedWish = about;
    }
    decidedSignal.notify_all();
}

void ServerClient::subscribe() {
    if (stage != Stage::open) return;
    const bool often = watched;
    subscribedMs = nowMs();
    request(sessionPath("status/subscribe"), {often ? kWatchedHz : kIdleHz, often ? 1 : 0}, 5.0,
            {});
}

void ServerClient::readLatency(const OscMessage& message, size_t first, const SessionWish& wish) {
    LatencyParts parts;
    parts.total = message.integer(first);
    parts.adaptation = message.integer(first + 1);
    parts.separator = message.integer(first + 2);
    parts.deadline = message.integer(first + 3);
    parts.fade = message.integer(first + 4);
    if (parts.total <= 0 || parts.total > 100'000'000) return;  // said before the link is open
    change([&](ServerView& v) { v.latency = parts; });
    if (wish.sampleRate > 0) delegate.latencyKnown(wish.latencyKey(), parts.total);
}

// --- offline rendering -----------------------------------------------------------------------

bool ServerClient::settled() {
    const auto wish = delegate.sessionWish();
    const std::lock_guard<std::mutex> hold(decidedLock);
    if (!decided || wish.preset == nullptr || decidedWish.preset == nullptr) return false;
    // Other gains make no refused preset a better one, so it is not asked for again.
    return separating ? sameSound(wish, decidedWish) : sameTask(wish, decidedWish);
}

bool ServerClient::separates() const {
    const std::lock_guard<std::mutex> hold(decidedLock);
    return decided && separating;
}

bool ServerClient::waitFor(const std::function<bool()>& condition, double timeoutSeconds) {
    const auto until = nowMs() + timeoutSeconds * 1000.0;
    while (!condition()) {
        const auto left = until - nowMs();
        if (left <= 0.0 || stopping || !worthWaiting()) return false;
        std::unique_lock<std::mutex> hold(decidedLock);
        decidedSignal.wait_for(hold,
                               std::chrono::duration<double, std::milli>(std::min(left, 5.0)));
    }
    return true;
}

bool ServerClient::worthWaiting() const {
    if (startWanted) return true;
    const std::lock_guard<std::mutex> hold(viewLock);
    if (shown.unresponsive) return nowMs() - silentSinceMs < kPatienceMs;  // slow, or hung?
    switch (shown.phase) {
        case ServerPhase::unknown:
        case ServerPhase::searching: {  // one may have come since the last look
            const auto there = readServerAddress();
            return there.found && processExists(there.pid);
        }
        case ServerPhase::refused:  // the server itself, or only what was wished before?
            return greeted;
        case ServerPhase::starting:
        case ServerPhase::greeting:
        case ServerPhase::opening:
        case ServerPhase::connected:
            break;
    }
    return true;
}

}  // namespace stembridge
