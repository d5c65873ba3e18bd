// What the parts of the core share: its state, sorted by who touches it. See the public header for
// the arithmetic and the threads.
//
// Ownership: Impl owns the link, the dry delay line and the scratch blocks; all are made in
// prepare() (core_prepare.cpp). A block is fed (core_feed.cpp), mixed (core_emit.cpp) and told
// (realtime_core.cpp); hosts never run process() beside prepare() or detach(). `link_mutex` keeps
// housekeeping() and link_name() off a link that prepare() replaces.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "layout.hpp"
#include "mixing.hpp"
#include "stembridge/link.hpp"
#include "stembridge/realtime_core.hpp"

namespace stembridge {

constexpr int kChunk = 256;  // samples mixed at a time

/// A counter that only the audio thread moves: no locked instruction needed.
struct Counter {
    std::atomic<std::uint64_t> value{0};
    void add(std::uint64_t n) noexcept {
        value.store(value.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
    std::uint64_t get() const noexcept { return value.load(std::memory_order_relaxed); }
    void clear() noexcept { value.store(0, std::memory_order_relaxed); }
};

struct ChunkBuffers {
    std::vector<float> memory;
    float *dry[kMaxChannels], *target[kMaxChannels], *output[kMaxChannels];  // one per channel
    float *wet, *target_gain, *remainder_gain, *share, *level, *zeros;

    void allocate(int channels) {
        const auto lanes = static_cast<std::size_t>(3 * channels + 6);
        memory.assign(lanes * kChunk, 0.0f);
        float* next = memory.data();
        const auto take = [&next] {
            float* lane = next;
            next += kChunk;
            return lane;
        };
        for (float** group : {dry, target, output}) {
            for (int c = 0; c < channels; ++c) group[c] = take();
        }
        for (float** lane : {&wet, &target_gain, &remainder_gain, &share, &level, &zeros}) {
            *lane = take();
        }
    }
};

struct RealtimeCore::Impl {
    // Handed over by atomics: any thread to the audio thread.
    std::atomic<float> target_gain_goal{1.0f};
    std::atomic<float> remainder_gain_goal{0.0f};
    std::atomic<bool> bypass_goal{false};
    std::atomic<std::int64_t> latency_goal{0};
    std::atomic<double> offline_timeout_seconds{60.0};

    // The audio thread to any thread.
    Counter blocks, samples, missed_blocks, missed_samples, overflowed, waits, timeouts, sanitised,
        faults, wakes;
    std::atomic<std::uint32_t> state{static_cast<std::uint32_t>(CoreState::unprepared)};
    std::atomic<std::int64_t> latency{0};
    std::atomic<float> input_peak{0}, target_peak{0}, remainder_peak{0}, output_peak{0};
    std::atomic<float> wet_share{0};
    std::atomic<std::int64_t> needed_latency{0};
    std::atomic<bool> server_attached{false};
    std::atomic<std::uint32_t> seen_generation{0};  // a copy of `generation`

    // housekeeping() and offline waits to the audio thread: the attachment that is known to be
    // dead. Generations count from 1.
    std::atomic<std::uint32_t> dead_generation{0};

    // Set in prepare().
    std::mutex link_mutex;
    std::unique_ptr<PluginLink> link;
    CoreConfig config;
    int channels = 0;
    int max_piece = 1;
    int fade = 1;
    Position max_latency = 0;
    Position dry_capacity = 0;      // a power of two
    std::vector<float> dry_memory;  // delay line, one lane per channel, addressed by position

    // Audio thread only.
    Position position = 0;       // of the next input sample
    Position epoch_start = 0;    // nothing before is heard
    Position released = 0;       // output before was given back to the server
    Position expected_from = 0;  // output that the current attachment of the server can deliver
    std::uint32_t generation = 0;
    float wet = 1.0f;  // before bypass
    Ramp target_gain, remainder_gain, unbypassed, level;
    bool timed_out = false;
    Position timed_out_at = 0;
    bool latency_unfit = false;
    ChunkBuffers chunk;
    const float* pointers[kMaxChannels] = {};

    struct Block {  // what one process() call gathers
        std::int32_t input_peak = 0, target_peak = 0, remainder_peak = 0, output_peak = 0;
        std::uint64_t missed = 0;
        bool short_runway = false;
        bool faulty = false;
    };

    float* dry_lane(int c) noexcept { return dry_memory.data() + dry_capacity * c; }
    bool alive() const noexcept {
        return link != nullptr && link->server_attached() && generation != 0 &&
               dead_generation.load(std::memory_order_relaxed) != generation;
    }

    void prepare(const CoreConfig& wanted);
    void start_epoch() noexcept;
    void pick_up(bool offline) noexcept;
    void notice_server() noexcept;
    void feed(const float* const* in, int offset, int samples, bool offline, Block& block) noexcept;
    void wait_for_output(Position needed) noexcept;
    template <class WaitSlice, class Progress>
    bool wait_bounded(WaitSlice wait_slice, Progress progress) noexcept;
    void emit(float* const* out, const ProcessTaps& taps, int offset, int samples, Position from,
              bool offline, Block& block) noexcept;
    enum class Kind { steady_wet, steady_dry, weighted };
    Kind weigh(Position at, int samples, const PluginLink::Ready& ready, Block& block) noexcept;
    void emit_chunk(float* const* out, const ProcessTaps& taps, int offset, int samples,
                    Position at, const PluginLink::Ready& ready, Block& block) noexcept;
    void publish(const Block& block, int block_samples) noexcept;
};

}  // namespace stembridge
