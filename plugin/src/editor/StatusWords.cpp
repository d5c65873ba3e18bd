// See StatusWords.h.
#include "StatusWords.h"

namespace stembridge {
namespace {

const char* const kDry = ": playing the dry track.";

juce::String field(const ServerView& server, const char* key) {
    const auto found = server.session.find(key);
    return found == server.session.end() ? juce::String() : found->second;
}

juce::String grouped(std::int64_t number) {
    auto text = juce::String(number);
    for (int at = text.length() - 3; at > 0; at -= 3)
        text = text.substring(0, at) + juce::String::fromUTF8("\u202f") + text.substring(at);
    return text;
}

}  // namespace

juce::String latencyWords(std::int64_t samples, double sampleRate) {
    if (sampleRate <= 0.0 || samples <= 0) return juce::String::fromUTF8("–");
    const double ms = 1000.0 * static_cast<double>(samples) / sampleRate;
    const auto time = ms < 1000.0 ? juce::String(juce::roundToInt(ms)) + " ms"
                                  : juce::String(ms / 1000.0, 2) + " s";
    return time + juce::String::fromUTF8("  ·  ") + grouped(samples) + " samples";
}

StatusWords describe(const ServerView& server, const CoreStatus& audio,
                     const juce::String& stateProblem, bool gaveUpOffline, double drySeconds,
                     bool bypassed, bool missedLately) {
    if (stateProblem.isNotEmpty())
        return {StatusTone::warning, stateProblem, StatusAction::dismiss};
    if (server.error.isNotEmpty()) {
        const bool away = server.phase == ServerPhase::searching;
        return {StatusTone::bad, server.error,
                away ? StatusAction::startServer : StatusAction::dismiss};
    }
    switch (server.phase) {
        case ServerPhase::searching:
            if (server.unresponsive)
                return {StatusTone::bad,
                        "The server does not answer" + juce::String(kDry) +
                            juce::String::fromUTF8(" Retrying…"),
                        StatusAction::none};
            if (gaveUpOffline)
                return {StatusTone::bad,
                        "The server did not come in time: this render is dry. Start it, then "
                        "render again: stembridge serve",
                        StatusAction::startServer};
            return {StatusTone::bad,
                    juce::String(server.everConnected ? "Server gone" : "Server not found") + kDry +
                        juce::String::fromUTF8(" Start it: stembridge serve. Retrying…"),
                    StatusAction::startServer};
        case ServerPhase::starting:
            return {StatusTone::working,
                    juce::String::fromUTF8("Starting the server… dry until it is there."),
                    StatusAction::none};
        case ServerPhase::unknown:
        case ServerPhase::greeting:
            return {StatusTone::working, juce::String::fromUTF8("Connecting…"), StatusAction::none};
        case ServerPhase::opening:
            if (server.progress < 1.0f)
                return {StatusTone::working,
                        server.progressText + "  " +
                            juce::String(juce::roundToInt(server.progress * 100.0f)) + " %",
                        StatusAction::none};
            return {StatusTone::working,
                    audio.state == CoreState::unprepared
                        ? juce::String("Connected. The host has not switched audio on yet.")
                        : juce::String::fromUTF8("Loading the separator… dry until it is ready."),
                    StatusAction::none};
        case ServerPhase::refused:
            return {StatusTone::bad, "The server refused this preset.", StatusAction::dismiss};
        case ServerPhase::connected:
            break;
    }
    if (field(server, "state") == "error")
        return {StatusTone::bad, field(server, "message"), StatusAction::none};
    if (server.progress < 1.0f)
        return {StatusTone::working,
                server.progressText + "  " +
                    juce::String(juce::roundToInt(server.progress * 100.0f)) + " %",
                StatusAction::none};
    if (audio.state == CoreState::no_link)
        return {StatusTone::bad,
                "Shared memory could not be reserved: playing the dry track. Free /dev/shm, then "
                "reload the plugin.",
                StatusAction::none};
    if (audio.state == CoreState::latency_too_small)
        return {StatusTone::warning,
                "The host has not taken the new latency yet. Stop and start playback.",
                StatusAction::none};
    if (audio.state == CoreState::offline_timeout)
        return {StatusTone::bad, "The server was too late for this render: parts of it are dry.",
                StatusAction::none};
    if (drySeconds > 0.0)
        return {StatusTone::warning,
                "The last render was dry for " + juce::String(drySeconds, 1) +
                    " s, because no server was there. It is here now: render again.",
                StatusAction::dismiss};
    const auto instances =
        juce::String(server.sessions) + (server.sessions == 1 ? " instance, " : " instances, ");
    const auto load = field(server, "load").getFloatValue();
    auto text = "Connected to the server: " + instances +
                juce::String(juce::roundToInt(load * 100.0f)) + " % of one core";
    if (bypassed) return {StatusTone::good, text + ". Bypassed.", StatusAction::none};
    if (missedLately)
        return {StatusTone::warning, text + ". Too slow just now: parts are dry.",
                StatusAction::none};
    if (server.notice.isNotEmpty()) text = server.notice;
    return {StatusTone::good, text, StatusAction::none};
}

}  // namespace stembridge
