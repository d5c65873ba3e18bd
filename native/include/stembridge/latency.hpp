// The parts of the reported latency, in samples at the host's rate.
//
// A separator works in steps of `step_samples`; a host hands blocks of its own size. When `n`
// samples have come in, whole steps cover floor(n / step) * step of them, and the separator's
// newest finished sample lies `lookahead_samples` behind that. What must come out with the block
// that ends at `n` reaches up to `n - latency`, so
//
//     latency >= n - floor(n / step) * step + lookahead   for every block end n.
//
// For blocks of always `block` samples, n runs over the multiples of `block`, whose remainders
// modulo `step` reach step - gcd(block, step); for changing blocks they reach step - 1. Example:
// steps of 1024, host blocks of 384: gcd = 128, so 896 samples; blocks of 512: gcd = 512, so 512.
//
// To that come the server's time (`budget_samples`: the newest block must travel there and back,
// so it is at least the largest host block plus the time of one step's arithmetic) and the runway
// of the cross-fade (`fade_samples`: the wet signal must be known that far ahead, so that a late
// server is heard as a fade to dry and never as a click).
#pragma once

#include <cstdint>
#include <numeric>

namespace stembridge {

struct LatencyParts {
    std::int64_t adaptation_samples = 0;  ///< host blocks to separator steps
    std::int64_t lookahead_samples = 0;   ///< the separator's own
    std::int64_t budget_samples = 0;      ///< deadline budget of the server
    std::int64_t fade_samples = 0;        ///< runway of the cross-fade to dry

    constexpr std::int64_t total_samples() const noexcept {
        return adaptation_samples + lookahead_samples + budget_samples + fade_samples;
    }
};

/// Least delay that adapts host blocks to steps. `block_samples` <= 0: blocks of changing size.
constexpr std::int64_t adaptation_samples(std::int64_t step_samples,
                                          std::int64_t block_samples = 0) noexcept {
    if (step_samples <= 1) return 0;
    if (block_samples <= 0) return step_samples - 1;
    return step_samples - std::gcd(block_samples, step_samples);
}

}  // namespace stembridge
