// What is known about the server and this instance's session: plain data, copied out under a lock.
//
// Everything the editor shows comes from here or from the audio core's counters, so it is what
// the server said and not what the plugin hopes.
#pragma once

#include "PresetDocument.h"

#include <array>
#include <deque>
#include <map>
#include <vector>

namespace stembridge {

enum class ServerPhase {
    unknown,    // has not looked yet
    searching,  // no server, or none that answers
    starting,   // this instance has started one that is not up yet
    greeting,   // hello is under way
    opening,    // the session's preset and link are under way (weights may be loading)
    connected,  // the session is open
    refused,    // the server answered, but cannot serve this (see error)
};

struct LatencyParts {
    int total = 0, adaptation = 0, separator = 0, deadline = 0, fade = 0;
};

struct PresetRow {
    juce::String name, group, description;
};

struct ServerView {
    ServerPhase phase = ServerPhase::unknown;
    bool unresponsive = false;  // a server's process is there, but it does not answer
    bool everConnected = false;
    juce::String version;  // of the server
    int pid = 0;
    juce::String error;   // a sentence for people; empty when all is well
    juce::String notice;  // the outcome of the last request of the editor
    int sessions = 0;
    float serverLoad = 0.0f;                       // cores
    std::map<juce::String, juce::String> session;  // status pairs of this session
    LatencyParts latency;
    std::array<float, 6> levelsDb{-120, -120, -120,
                                  -120, -120, -120};  // rms, peak: in, target, rest
    juce::uint32 levelsAtMs = 0;
    juce::String progressText;
    float progress = 1.0f;
    std::vector<PresetRow> presets;
};

constexpr int kSpectrumBands = 64;
struct SpectrumColumn {
    double place = -1.0;  // of its sound on the learning tape, in seconds; -1: there is none
    std::array<uint8_t, kSpectrumBands> target{}, remainder{};
};

// What the session shall be; compared as a whole to find out what must be sent.
struct SessionWish {
    PresetDocument::Ptr preset;
    Mode mode = Mode::mix;
    Output output = Output::target;
    float targetDb = 0.0f;
    float remainderDb = 0.0f;
    juce::String link;
    int sampleRate = 0;
    int maxBlock = 0;

    // Kept in projects, so short: what the options are is only told apart.
    juce::String latencyKey() const {
        const auto key = preset->separator + " " + toWord(mode) + " " + juce::String(sampleRate) +
                         " " + juce::String(maxBlock);
        const auto& asked = preset->latencyText;
        return asked.isEmpty() ? key : key + " " + juce::String::toHexString(asked.hashCode64());
    }
};

}  // namespace stembridge
