// What to report to the host before any server has said it: the figures of the embedded separator
// (a test holds them against the chain), or the time budget alone for systems that come later.
#pragma once

#include "PresetDocument.h"

#include <cmath>

namespace stembridge {

inline int guessLatency(const juce::String& separator, Mode mode, double sampleRate, int maxBlock) {
    struct Row {
        double modelSeconds;   // adaptation, look-ahead and resampling
        double budgetSeconds;  // the server's time for a step, and the cross-fade
    };
    static constexpr Row rows[] = {{0.17, 0.05}, {0.53, 0.16}, {9.3, 0.51}};
    juce::ignoreUnused(separator);
    const auto& row = rows[static_cast<size_t>(mode)];
    const double rate = sampleRate > 0 ? sampleRate : 44100.0;
    return static_cast<int>(std::ceil((row.modelSeconds + row.budgetSeconds) * rate)) + maxBlock;
}

}  // namespace stembridge
