// Sample arithmetic of the real-time core: plain loops over small blocks that compilers turn into
// vector code. Pure functions, no state, nothing shared.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace stembridge {

/// Bits of |x|: compare like the absolute values do, NaN and infinity above everything.
inline std::int32_t magnitude_bits(float x) noexcept {
    std::int32_t bits;
    std::memcpy(&bits, &x, sizeof(bits));
    return bits & 0x7fffffff;
}

inline float from_bits(std::int32_t bits) noexcept {
    float x;
    std::memcpy(&x, &bits, sizeof(x));
    return x;
}

struct Scan {
    std::int32_t peak_bits = 0;
    std::int32_t replaced = 0;
};

/// Copies, with NaN, infinities and denormals replaced by 0. `target` may be `source`.
inline Scan sanitise(float* target, const float* source, int samples) noexcept {
    std::int32_t peak = 0;
    std::int32_t replaced = 0;
    for (int i = 0; i < samples; ++i) {
        std::int32_t bits;
        std::memcpy(&bits, source + i, sizeof(bits));
        const std::int32_t magnitude = bits & 0x7fffffff;
        const std::int32_t normal =
            -static_cast<std::int32_t>((magnitude > 0x007fffff) & (magnitude < 0x7f800000));
        bits &= normal;
        peak = std::max(peak, magnitude & normal);
        replaced += (magnitude != 0) & ~normal;
        std::memcpy(target + i, &bits, sizeof(bits));
    }
    return {peak, replaced};
}

inline std::int32_t peak_bits(const float* x, int samples) noexcept {
    std::int32_t peak = 0;
    for (int i = 0; i < samples; ++i) peak = std::max(peak, magnitude_bits(x[i]));
    return peak;
}

/// out = remainder_gain * dry + (target_gain - remainder_gain) * target. With both gains 1 this is
/// dry exactly, with (1, 0) target exactly, with (0, 1) the remainder dry - target exactly.
inline void mix_steady(float* out, const float* dry, const float* target, float target_gain,
                       float remainder_gain, int samples) noexcept {
    const float difference = target_gain - remainder_gain;
    for (int i = 0; i < samples; ++i) {
        out[i] = remainder_gain * dry[i] + difference * target[i];
    }
}

/// Weights of one block, one number per sample, the same for all channels.
struct Weights {
    const float* wet;             // w
    const float* target_gain;     // g_t
    const float* remainder_gain;  // g_r
    const float* share;           // s
    const float* level;           // dip while the latency changes; 1 otherwise
};

inline void mix_general(float* out, const float* dry, const float* target, const float* output,
                        const Weights& k, int samples) noexcept {
    for (int i = 0; i < samples; ++i) {
        const float local =
            k.remainder_gain[i] * dry[i] + (k.target_gain[i] - k.remainder_gain[i]) * target[i];
        const float wet = (1.0f - k.share[i]) * local + k.share[i] * output[i];
        out[i] = k.level[i] * (k.wet[i] * wet + (1.0f - k.wet[i]) * dry[i]);
    }
}

/// A value that moves to its goal in a straight line and ends exactly there.
class Ramp {
public:
    void snap(float value) noexcept {
        value_ = goal_ = value;
        left_ = 0;
    }
    void go(float goal, int samples) noexcept {
        if (goal == goal_) return;
        goal_ = goal;
        left_ = std::max(samples, 1);
        step_ = (goal - value_) / static_cast<float>(left_);
    }
    bool moving() const noexcept { return left_ > 0; }
    int left() const noexcept { return left_; }
    float value() const noexcept { return value_; }
    float goal() const noexcept { return goal_; }
    void render(float* values, int samples) noexcept {
        const int ramped = std::min(samples, left_);
        for (int i = 0; i < ramped; ++i) {
            values[i] = value_ + step_ * static_cast<float>(i + 1);
        }
        if (ramped > 0) {
            left_ -= ramped;
            value_ = left_ == 0 ? goal_ : values[ramped - 1];
            values[ramped - 1] = value_;
        }
        std::fill(values + ramped, values + samples, value_);
    }

private:
    float value_ = 0.0f;
    float goal_ = 0.0f;
    float step_ = 0.0f;
    int left_ = 0;
};

}  // namespace stembridge
