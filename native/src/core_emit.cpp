// The way out: how much of what was delivered is heard (the runway), and the mix itself.
#include "core_impl.hpp"

namespace stembridge {

/// Says how a chunk is to be mixed, and fills its weights if they are needed.
RealtimeCore::Impl::Kind RealtimeCore::Impl::weigh(Position at, int count,
                                                   const PluginLink::Ready& ready,
                                                   Block& block) noexcept {
    // Silence before the epoch's start takes part in the ramp as if it were delivered.
    const Position begin = ready.begin <= epoch_start ? at : ready.begin;
    const Position last = at + count - 1;
    const bool due = alive() && last >= std::max(expected_from, epoch_start);
    if (due) {
        const Position first = std::max({at, expected_from, epoch_start});
        const Position there = std::clamp<Position>(
            std::min(last + 1, ready.end) - std::max(first, begin), 0, last + 1 - first);
        block.missed += static_cast<std::uint64_t>(last + 1 - first - there);
        if (ready.end - last <= fade || begin > first) block.short_runway = true;
    }
    const bool resting = !target_gain.moving() && !remainder_gain.moving() &&
                         !unbypassed.moving() && !level.moving() && level.value() == 1.0f;
    if (resting) {
        const bool whole = begin <= at && ready.end - last > fade;
        if (whole && wet >= 1.0f && unbypassed.value() == 1.0f) return Kind::steady_wet;
        const bool none = begin > last || ready.end - at <= 1;
        if (none) wet = 0.0f;
        if (none || (whole && wet >= 1.0f && unbypassed.value() == 0.0f)) return Kind::steady_dry;
    }
    const float step = 1.0f / static_cast<float>(fade);
    for (int i = 0; i < count; ++i) {
        const Position runway = at + i >= begin ? ready.end - (at + i) - 1 : 0;
        const float limit =
            runway >= fade ? 1.0f : std::max(0.0f, static_cast<float>(runway) * step);
        wet = std::min({wet + step, 1.0f, limit});
        chunk.wet[i] = wet;
    }
    unbypassed.render(chunk.share, count);  // borrowed: share is filled afterwards
    for (int i = 0; i < count; ++i) chunk.wet[i] *= chunk.share[i];
    target_gain.render(chunk.target_gain, count);
    remainder_gain.render(chunk.remainder_gain, count);
    level.render(chunk.level, count);
    return Kind::weighted;
}

void RealtimeCore::Impl::emit_chunk(float* const* out, const ProcessTaps& taps, int offset,
                                    int count, Position at, const PluginLink::Ready& ready,
                                    Block& block) noexcept {
    const Kind kind = weigh(at, count, ready, block);
    bool weighted = kind == Kind::weighted;

    // What of the chunk has been delivered: [first, first + there) as offsets into the chunk.
    const Position valid_from = std::max({at, ready.begin, epoch_start});
    const Position valid_to = kind == Kind::steady_dry ? at : std::min(at + count, ready.end);
    const int there = static_cast<int>(std::max<Position>(0, valid_to - valid_from));
    const int first = there > 0 ? static_cast<int>(valid_from - at) : 0;
    bool effects = false;
    if (there > 0) {
        float* lanes[kMaxChannels];
        std::int32_t replaced = 0;
        for (int c = 0; c < channels; ++c) lanes[c] = chunk.target[c] + first;
        link->copy(valid_from, there, lanes, nullptr, chunk.share + first);
        effects = peak_bits(chunk.share + first, there) != 0;
        if (effects) {
            for (int c = 0; c < channels; ++c) lanes[c] = chunk.output[c] + first;
            link->copy(valid_from, there, nullptr, lanes, nullptr);
            replaced += sanitise(chunk.share + first, chunk.share + first, there).replaced;
            for (int i = first; i < first + there; ++i) {
                chunk.share[i] = std::clamp(chunk.share[i], 0.0f, 1.0f);
            }
        }
        for (int c = 0; c < channels; ++c) {
            replaced += sanitise(chunk.target[c] + first, chunk.target[c] + first, there).replaced;
            if (effects) {
                replaced +=
                    sanitise(chunk.output[c] + first, chunk.output[c] + first, there).replaced;
            }
        }
        if (replaced != 0) sanitised.add(static_cast<std::uint64_t>(replaced));
    }
    const auto blank_rest = [&](float* lane) {
        std::fill_n(lane, first, 0.0f);
        std::fill(lane + first + there, lane + count, 0.0f);
    };
    if (there < count) {
        for (int c = 0; c < channels; ++c) blank_rest(chunk.target[c]);
    }
    if (effects && !weighted) {  // share needs the general mix: steady weights
        std::fill_n(chunk.wet, count, 1.0f);
        std::fill_n(chunk.level, count, 1.0f);
        std::fill_n(chunk.target_gain, count, target_gain.value());
        std::fill_n(chunk.remainder_gain, count, remainder_gain.value());
        weighted = true;
    }
    if (weighted) {
        if (!effects) {
            std::fill_n(chunk.share, count, 0.0f);
        } else if (there < count) {
            blank_rest(chunk.share);
            for (int c = 0; c < channels; ++c) blank_rest(chunk.output[c]);
        }
    }

    for (int c = 0; c < channels; ++c) {
        const float* dry = chunk.dry[c];
        if (at >= epoch_start && (at & (dry_capacity - 1)) + count <= dry_capacity) {
            dry = dry_lane(c) + (at & (dry_capacity - 1));
        } else {
            for (int i = 0; i < count; ++i) {
                chunk.dry[c][i] =
                    at + i >= epoch_start ? dry_lane(c)[(at + i) & (dry_capacity - 1)] : 0.0f;
            }
        }
        if (out[c] == nullptr) continue;
        float* target = chunk.target[c];
        float* y = out[c] + offset;
        if (weighted) {
            const Weights weights{chunk.wet, chunk.target_gain, chunk.remainder_gain, chunk.share,
                                  chunk.level};
            mix_general(y, dry, target, effects ? chunk.output[c] : chunk.zeros, weights, count);
            for (int i = 0; i < count; ++i) target[i] *= chunk.wet[i];
        } else if (kind == Kind::steady_dry) {
            std::copy_n(dry, count, y);
        } else {
            mix_steady(y, dry, target, target_gain.value(), remainder_gain.value(), count);
        }
        block.target_peak = std::max(block.target_peak, peak_bits(target, count));
        block.output_peak = std::max(block.output_peak, peak_bits(y, count));
        std::int32_t peak = block.remainder_peak;
        for (int i = 0; i < count; ++i) {
            peak = std::max(peak, magnitude_bits(dry[i] - target[i]));
        }
        block.remainder_peak = peak;
        if (taps.target != nullptr && taps.target[c] != nullptr) {
            std::copy_n(target, count, taps.target[c] + offset);
        }
        if (taps.remainder != nullptr && taps.remainder[c] != nullptr) {
            float* remainder = taps.remainder[c] + offset;
            for (int i = 0; i < count; ++i) remainder[i] = dry[i] - target[i];
        }
    }
}

void RealtimeCore::Impl::emit(float* const* out, const ProcessTaps& taps, int offset, int count,
                              Position from, bool offline, Block& block) noexcept {
    if (offline && link) wait_for_output(from + count + fade);
    PluginLink::Ready ready{};
    if (link) {
        ready = link->ready();
        if (ready.fault) block.faulty = true;
        ready.begin = std::max(ready.begin, released);
    }
    for (int done = 0; done < count;) {
        const int run = std::min(count - done, kChunk);
        emit_chunk(out, taps, offset + done, run, from + done,
                   ready.around(from + done, epoch_start), block);
        done += run;
    }
    released = std::max(released, from + count);
    if (link) link->release(released);
}

}  // namespace stembridge
