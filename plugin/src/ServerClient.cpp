// See ServerClient.h. The thread and its server: looking for it, greeting it, losing it. The
// session is in ServerSession.cpp, requests and answers in ServerRequests.cpp.
#include "ServerClient.h"

#include <cmath>

namespace stembridge {
namespace {

constexpr double kHelloTimeoutSeconds = 0.5;
constexpr double kLookAgainMs = 250.0;
constexpr double kSilentMs = 3000.0;  // no word for so long: the server hangs
constexpr double kPingMs = 1000.0;
constexpr double kHousekeepingMs = 100.0;
constexpr double kStartingMs = 60000.0;

double nowMs() {
    return juce::Time::getMillisecondCounterHiRes();
}

}  // namespace

ServerClient::ServerClient(Delegate& owner)
    : delegate(owner),
      sessionId("p" + juce::String::toHexString(juce::Random::getSystemRandom().nextInt64())
                          .paddedLeft('0', 16)
                          .toStdString()) {}

ServerClient::~ServerClient() {
    stop();
}

void ServerClient::start() {
    if (!thread.joinable()) thread = std::thread([this] { run(); });
}

void ServerClient::stop() {
    stopping = true;
    if (thread.joinable()) thread.join();
}

std::string ServerClient::sessionPath(const char* verb) const {
    return "/session/" + sessionId + "/" + verb;
}

void ServerClient::change(const std::function<void(ServerView&)>& edit) {
    const std::lock_guard<std::mutex> hold(viewLock);
    edit(shown);
}

void ServerClient::showError(const OscMessage& error) {
    change([&](ServerView& v) { v.error = juce::String::fromUTF8(error.text(2).c_str()); });
}

ServerView ServerClient::view() const {
    const std::lock_guard<std::mutex> hold(viewLock);
    return shown;
}

std::vector<SpectrumColumn> ServerClient::takeSpectrum() {
    const std::lock_guard<std::mutex> hold(viewLock);
    std::vector<SpectrumColumn> taken(spectrum.begin(), spectrum.end());
    spectrum.clear();
    return taken;
}

void ServerClient::setWatched(bool editorOpen) {
    if (watched.exchange(editorOpen) != editorOpen) post([this] { subscribe(); });
}

void ServerClient::post(std::function<void()> job) {
    const std::lock_guard<std::mutex> hold(jobLock);
    if (jobs.size() < 256) jobs.push_back(std::move(job));
}

// --- the thread ------------------------------------------------------------------------------

void ServerClient::run() {
    while (!stopping) {
        if (socket == nullptr) {
            auto fresh = std::make_unique<juce::DatagramSocket>(false);
            if (fresh->bindToPort(0, "127.0.0.1")) {
                socket = std::move(fresh);
            } else {
                std::this_thread::sleep_for(std::chrono::milliseconds(200));
                continue;
            }
        }
        const bool busy = !pending.empty() || watched || stage == Stage::greeting;
        receive(busy ? 5 : 25);
        turn();
    }
    if (socket != nullptr && (stage == Stage::open || stage == Stage::presetSent))
        send(sessionPath("link/close"));
    socket.reset();
}

void ServerClient::receive(int timeoutMs) {
    uint8_t datagram[65536 / 4];
    int patience = timeoutMs;
    for (int i = 0; i < 512; ++i) {
        if (socket->waitUntilReady(true, patience) != 1) return;
        patience = 0;
        juce::String sender;
        int port = 0;
        const int size = socket->read(datagram, sizeof datagram, false, sender, port);
        if (size <= 0) return;  // a refused datagram (no server) is reported here, too
        if (!address.found || port != address.port) continue;  // only the server that we greeted
        if (const auto message = decode(datagram, static_cast<size_t>(size))) handle(*message);
    }
}

void ServerClient::turn() {
    const auto now = nowMs();
    std::vector<std::function<void()>> todo;
    {
        const std::lock_guard<std::mutex> hold(jobLock);
        todo.swap(jobs);
    }
    for (auto& job : todo) job();

    for (size_t i = 0; i < pending.size();) {
        if (pending[i].deadlineMs > now) {
            ++i;
            continue;
        }
        auto late = std::move(pending[i]);
        pending.erase(pending.begin() + static_cast<std::ptrdiff_t>(i));
        static const OscMessage timedOut{"/error",
                                         {std::string{}, std::string("timeout"),
                                          std::string("The server did not answer in time.")}};
        if (late.handler) late.handler(late.replies, &timedOut);
        i = 0;
    }
    if (now - housekeepingMs > kHousekeepingMs) {
        housekeepingMs = now;
        delegate.housekeeping();
    }
    if (stage == Stage::away) {
        lookForServer(now);
        return;
    }
    if (stage == Stage::greeting) return;
    if (now - processCheckMs > 200.0) {
        processCheckMs = now;
        if (!processExists(address.pid)) return lose("The server has ended.", now);
    }
    if (now - heardMs > kSilentMs) {
        change([this, now](ServerView& v) {
            if (!v.unresponsive) silentSinceMs = now - kSilentMs;
            v.unresponsive = true;
        });
        return lose("The server does not answer.", now);
    }
    if (now - pingMs > kPingMs) {
        pingMs = now;
        request("/server/ping", {1}, 10.0, [this](const Replies& replies, const OscMessage*) {
            if (!replies.empty())
                change([&](ServerView& v) { v.sessions = replies[0].integer(1); });
        });
    }
    synchronise();
    reportDryRender();
}

void ServerClient::lookForServer(double now) {
    if (now < nextLookMs) return;
    nextLookMs = now + kLookAgainMs;
    const bool starting = starter.alive() && now - startedMs < kStartingMs;
    startWanted = false;
    address = readServerAddress();
    change([&](ServerView& v) {
        if (v.phase == ServerPhase::unknown) v.phase = ServerPhase::searching;
    });
    if (!address.found || !processExists(address.pid)) {
        change([&](ServerView& v) {
            v.unresponsive = false;
            v.phase = starting ? ServerPhase::starting : ServerPhase::searching;
        });
        return;
    }
    stage = Stage::greeting;
    change([](ServerView& v) {
        if (!v.unresponsive && v.phase != ServerPhase::refused) v.phase = ServerPhase::greeting;
    });
    request("/server/hello",
            {kOscProtocol, std::string("Stembridge plugin " STEMBRIDGE_VERSION),
             address.token.toStdString()},
            kHelloTimeoutSeconds, [this](const Replies& replies, const OscMessage* error) {
                if (error != nullptr && error->text(1) == "timeout") {
                    stage = Stage::away;
                    nextLookMs = nowMs() + kLookAgainMs;
                    const bool alive = processExists(address.pid);
                    change([&](ServerView& v) {
                        if (alive && !v.unresponsive) silentSinceMs = nowMs();
                        v.phase = ServerPhase::searching;
                        v.unresponsive = alive;
                    });
                    return;
                }
                if (error != nullptr) {
                    stage = Stage::away;
                    nextLookMs = nowMs() + 2000.0;
                    change([&](ServerView& v) {
                        v.phase = ServerPhase::refused;
                        v.unresponsive = false;
                        v.error = juce::String::fromUTF8(error->text(2).c_str());
                    });
                    return;
                }
                const auto& hello = replies[0];
                if (hello.integer(1) != kOscProtocol) {
                    stage = Stage::away;
                    nextLookMs = nowMs() + 2000.0;
                    change([&](ServerView& v) {
                        v.phase = ServerPhase::refused;
                        v.error = "The server speaks protocol " + juce::String(hello.integer(1)) +
                                  ", this plugin " + juce::String(kOscProtocol) +
                                  ". Run: stembridge plugin install";
                    });
                    return;
                }
                stage = Stage::ready;
                greeted = true;
                ++greetingCount;
                heardMs = pingMs = processCheckMs = greetedMs = nowMs();
                refused = false;
                change([&](ServerView& v) {
                    v.phase = ServerPhase::opening;
                    v.unresponsive = false;
                    v.everConnected = true;
                    v.error.clear();
                    v.version = juce::String::fromUTF8(hello.text(2).c_str());
                    v.pid = hello.integer(5);
                });
                request("/server/status/subscribe", {1.0f}, 5.0, {});
                listPresets();
            });
}

void ServerClient::lose(const juce::String& why, double now) {
    stage = Stage::away;
    greeted = false;
    nextLookMs = now + 100.0;
    const auto abandoned = std::move(pending);
    pending.clear();
    static const OscMessage gone{
        "/error", {std::string{}, std::string("gone"), std::string("The server is gone.")}};
    for (const auto& entry : abandoned)
        if (entry.handler) entry.handler({}, &gone);
    stage = Stage::away;  // whatever the handlers thought
    outstandingChanges = 0;
    applied = {};
    latencyAsked.clear();
    {
        const std::lock_guard<std::mutex> hold(decidedLock);
        decided = false;
    }
    change([&](ServerView& v) {
        v.phase = ServerPhase::searching;
        v.notice = why;
        v.session.clear();
        v.sessions = 0;
        v.levelsDb.fill(-120.0f);
        v.progress = 1.0f;
    });
    decidedSignal.notify_all();
}

}  // namespace stembridge
