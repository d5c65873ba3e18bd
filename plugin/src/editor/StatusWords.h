// The status line: what is going on, in one sentence a musician understands.
#pragma once

#include "../Processor.h"

namespace stembridge {

enum class StatusTone { good, working, warning, bad };
enum class StatusAction { none, startServer, dismiss };

struct StatusWords {
    StatusTone tone = StatusTone::working;
    juce::String text;
    StatusAction action = StatusAction::none;
};

// Pure: made of what was reported, nothing else.
StatusWords describe(const ServerView& server, const CoreStatus& audio,
                     const juce::String& stateProblem, bool gaveUpOffline, double drySeconds,
                     bool bypassed, bool missedLately);

// "92 ms (4 416 samples)", at the rate the core was prepared for.
juce::String latencyWords(std::int64_t samples, double sampleRate);

}  // namespace stembridge
