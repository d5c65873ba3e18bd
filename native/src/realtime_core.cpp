// The plugin's per-block work; see the header for the arithmetic and the threads.
//
// Ownership: Impl owns the link, the dry delay line and the scratch blocks; all are made in
// prepare(). process() touches no mutex: hosts never run it beside prepare() or detach().
// `link_mutex_` keeps housekeeping() and link_name() off a link that prepare() replaces.
#include "stembridge/realtime_core.hpp"

#include <chrono>
#include <cmath>
#include <mutex>
#include <vector>

#include "layout.hpp"
#include "mixing.hpp"
#include "stembridge/link.hpp"

namespace stembridge {
namespace {

constexpr int kChunk = 256;  // samples mixed at a time
constexpr double kWaitSliceSeconds = 0.05;
constexpr double kPeakFallSeconds = 0.25;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) noexcept {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

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

}  // namespace

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

void RealtimeCore::Impl::prepare(const CoreConfig& wanted) {
    if (!std::isfinite(wanted.sample_rate_hz) || wanted.sample_rate_hz < 1000.0 ||
        wanted.sample_rate_hz > 1e6 || wanted.channels < 1 || wanted.channels > kMaxChannels ||
        wanted.max_block_samples < 1 || wanted.latency_samples < 0 ||
        wanted.max_latency_samples < 0 || wanted.latency_samples > kMaxCapacity / 4 ||
        wanted.max_latency_samples > kMaxCapacity / 4 || !(wanted.fade_seconds >= 0.0) ||
        wanted.fade_seconds > 1.0) {
        throw LinkError("the host asks for " + std::to_string(wanted.channels) + " channels at " +
                        std::to_string(wanted.sample_rate_hz) + " Hz in blocks of " +
                        std::to_string(wanted.max_block_samples) + " with a latency of " +
                        std::to_string(wanted.latency_samples) +
                        " samples, which cannot be; use 1 to 8 channels at 1 kHz to 1 MHz");
    }
    const auto in_samples = [&](double seconds) {
        return static_cast<Position>(std::ceil(wanted.sample_rate_hz * seconds));
    };
    config = wanted;
    channels = wanted.channels;
    max_piece = std::min(wanted.max_block_samples, 8192);
    fade = std::max(1, static_cast<int>(std::lround(wanted.sample_rate_hz * wanted.fade_seconds)));
    max_latency = wanted.max_latency_samples > 0
                      ? std::max(wanted.max_latency_samples, wanted.latency_samples)
                      : std::max(wanted.latency_samples, in_samples(1.5));
    latency_goal.store(wanted.latency_samples);
    latency.store(wanted.latency_samples);
    dry_capacity = power_of_two_at_least(max_latency + 2 * max_piece);
    dry_memory.assign(static_cast<std::size_t>(dry_capacity * channels), 0.0f);
    chunk.allocate(channels);
    for (Counter* c : {&blocks, &samples, &missed_blocks, &missed_samples, &overflowed, &waits,
                       &timeouts, &sanitised, &faults, &wakes}) {
        c->clear();
    }

    const LinkFormat format{wanted.sample_rate_hz, channels, wanted.max_block_samples,
                            wanted.latency_samples, fade};
    const LinkCapacity room{std::max<Position>(in_samples(1.0), 4 * max_piece),
                            max_latency + 2 * max_piece + fade};
    const std::lock_guard<std::mutex> lock(link_mutex);
    state.store(static_cast<std::uint32_t>(CoreState::no_link));
    const bool keep = link != nullptr && link->format().channels == channels &&
                      link->capacity().input_samples >= room.input_samples &&
                      link->capacity().output_samples >= room.output_samples;
    if (keep) {
        link->begin_epoch(format);
    } else {
        link.reset();
        generation = 0;
        seen_generation.store(0);
        server_attached.store(false);
        dead_generation.store(0);
        position = released = expected_from = 0;
        sweep_stale();
        try {
            link = PluginLink::create(format, room);
            link->begin_epoch();
        } catch (...) {
            start_epoch();
            throw;
        }
    }
    start_epoch();
    const CoreState first = alive() ? CoreState::starting : CoreState::no_server;
    state.store(static_cast<std::uint32_t>(first));
}

void RealtimeCore::Impl::start_epoch() noexcept {
    epoch_start = position;
    wet = 1.0f;  // silence comes first, so the first due sample needs no fade-in
    timed_out = false;
    target_gain.snap(target_gain_goal.load(std::memory_order_relaxed));
    remainder_gain.snap(remainder_gain_goal.load(std::memory_order_relaxed));
    unbypassed.snap(bypass_goal.load(std::memory_order_relaxed) ? 0.0f : 1.0f);
    level.snap(1.0f);
    latency.store(
        std::clamp<Position>(latency_goal.load(std::memory_order_relaxed), 0, max_latency),
        std::memory_order_relaxed);
    if (link) link->set_latency_samples(latency.load(std::memory_order_relaxed));
}

void RealtimeCore::Impl::pick_up(bool offline) noexcept {
    target_gain.go(target_gain_goal.load(std::memory_order_relaxed), fade);
    remainder_gain.go(remainder_gain_goal.load(std::memory_order_relaxed), fade);
    const bool bypass = bypass_goal.load(std::memory_order_relaxed);
    unbypassed.go(bypass ? 0.0f : 1.0f, fade);
    if (link) link->set_flags(bypass && !unbypassed.moving(), offline);
    notice_server();
}

void RealtimeCore::Impl::notice_server() noexcept {
    if (!link) {
        server_attached.store(false, std::memory_order_relaxed);
        return;
    }
    const std::uint32_t now = link->server_generation();
    if (now != generation) {
        generation = now;
        seen_generation.store(now, std::memory_order_relaxed);
        expected_from = link->void_before();
        timed_out = false;
    }
    server_attached.store(alive(), std::memory_order_relaxed);
    const Position needed = link->needed_latency_samples();
    needed_latency.store(needed, std::memory_order_relaxed);
    const Position reported = latency.load(std::memory_order_relaxed);
    const Position chain = link->chain_latency_samples();
    latency_unfit = is_sane(chain) && chain > 0 && chain + fade > reported;
}

void RealtimeCore::Impl::feed(const float* const* in, int offset, int count, bool offline,
                              Block& block) noexcept {
    if (offline && alive() && link->room() < count) {
        wait_bounded([&](double seconds) { return link->wait_room(count, seconds); },
                     [&] { return link->room(); });
    }
    std::uint64_t replaced = 0;
    for (int done = 0; done < count;) {
        const Position at = position & (dry_capacity - 1);
        const int run = static_cast<int>(std::min<Position>(count - done, dry_capacity - at));
        for (int c = 0; c < channels; ++c) {
            float* line = dry_lane(c) + at;
            if (in[c] == nullptr) {
                std::fill_n(line, run, 0.0f);
            } else {
                const Scan scan = sanitise(line, in[c] + offset + done, run);
                block.input_peak = std::max(block.input_peak, scan.peak_bits);
                replaced += static_cast<std::uint64_t>(scan.replaced);
            }
            pointers[c] = line;
        }
        if (link && !link->write(pointers, run)) {
            overflowed.add(static_cast<std::uint64_t>(run));
        }
        position += run;
        done += run;
    }
    if (replaced != 0) sanitised.add(replaced);
    if (link && link->ring()) wakes.add(1);
}

/// Offline only. Waits in slices until `wait_slice` says that it is there. False: the server is
/// gone, or there was no progress for the time-out, which is then remembered.
template <class WaitSlice, class Progress>
bool RealtimeCore::Impl::wait_bounded(WaitSlice wait_slice, Progress progress) noexcept {
    if (timed_out) return false;
    waits.add(1);
    auto moved = Clock::now();
    auto last = progress();
    while (true) {
        const double patience = offline_timeout_seconds.load(std::memory_order_relaxed);
        const double left = patience - seconds_since(moved);
        if (wait_slice(std::clamp(left, 0.0, kWaitSliceSeconds))) return true;
        if (!link->server_attached()) return false;
        if (link->server_generation() != generation) notice_server();
        if (link->server_dead()) {
            dead_generation.store(generation, std::memory_order_relaxed);
            return false;
        }
        const auto now = progress();
        if (now != last) {
            last = now;
            moved = Clock::now();
        } else if (seconds_since(moved) >= patience) {
            timed_out = true;
            timed_out_at = link->ready().end;
            timeouts.add(1);
            return false;
        }
    }
}

void RealtimeCore::Impl::wait_for_output(Position needed) noexcept {
    if (!alive() || latency_unfit) return;
    const Position end = link->ready().end;
    if (timed_out && end != timed_out_at) timed_out = false;  // the server moves again
    if (end >= needed || link->void_before() >= needed) return;
    wait_bounded([&](double seconds) { return link->wait_output(needed, seconds); },
                 [&] { return link->ready().end; });
}

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

void RealtimeCore::Impl::publish(const Block& block, int block_samples) noexcept {
    constexpr auto relaxed = std::memory_order_relaxed;
    blocks.add(1);
    samples.add(static_cast<std::uint64_t>(block_samples));
    if (block.faulty) faults.add(1);
    if (block.missed != 0) missed_samples.add(block.missed);
    const bool living = alive();
    if (block.short_runway) missed_blocks.add(1);
    const auto kept = static_cast<float>(
        std::max(0.0, 1.0 - block_samples / (kPeakFallSeconds * config.sample_rate_hz)));
    const auto hold = [kept](std::atomic<float>& peak, std::int32_t bits) {
        peak.store(std::max(from_bits(bits), kept * peak.load(relaxed)), relaxed);
    };
    hold(input_peak, block.input_peak);
    hold(target_peak, block.target_peak);
    hold(remainder_peak, block.remainder_peak);
    hold(output_peak, block.output_peak);
    wet_share.store(wet, relaxed);
    CoreState now = CoreState::wet;
    if (!link) {
        now = CoreState::no_link;
    } else if (generation == 0 || !link->server_attached()) {
        now = CoreState::no_server;
    } else if (!living) {
        now = CoreState::server_gone;
    } else if (latency_unfit) {
        now = CoreState::latency_too_small;
    } else if (timed_out) {
        now = CoreState::offline_timeout;
    } else if (position - latency.load(relaxed) <= std::max(expected_from, epoch_start)) {
        now = CoreState::starting;
    } else if (block.short_runway || wet == 0.0f) {
        now = CoreState::late;
    }
    state.store(static_cast<std::uint32_t>(now), relaxed);
}

RealtimeCore::RealtimeCore() : impl_(std::make_unique<Impl>()) {}
RealtimeCore::~RealtimeCore() = default;

void RealtimeCore::prepare(const CoreConfig& config) {
    impl_->prepare(config);
}

void RealtimeCore::reset() noexcept {
    if (impl_->link) impl_->link->begin_epoch();
    impl_->start_epoch();
}

void RealtimeCore::process(const float* const* in, float* const* out, int channel_count,
                           int samples, bool offline_wait, const ProcessTaps& taps) noexcept {
    Impl& m = *impl_;
    if (samples <= 0 || channel_count <= 0) return;
    const int used = std::min(channel_count, m.channels);
    const float* inputs[kMaxChannels] = {};
    float* outputs[kMaxChannels] = {};
    for (int c = 0; c < used; ++c) {
        inputs[c] = in[c];
        outputs[c] = out[c];
    }
    Impl::Block block;
    m.pick_up(offline_wait);
    for (int done = 0; m.channels > 0 && done < samples;) {
        int piece = std::min(samples - done, m.max_piece);
        const Position goal =
            std::clamp<Position>(m.latency_goal.load(std::memory_order_relaxed), 0, m.max_latency);
        if (goal != m.latency.load(std::memory_order_relaxed)) {
            if (m.level.value() == 0.0f && !m.level.moving()) {
                m.latency.store(goal, std::memory_order_relaxed);
                if (m.link) m.link->set_latency_samples(goal);
            } else {
                m.level.go(0.0f, m.fade);
                piece = std::min(piece, m.level.left());
            }
        }
        if (goal == m.latency.load(std::memory_order_relaxed)) m.level.go(1.0f, m.fade);
        m.feed(inputs, done, piece, offline_wait, block);
        const Position from = m.position - piece - m.latency.load(std::memory_order_relaxed);
        m.emit(outputs, taps, done, piece, from, offline_wait, block);
        done += piece;
    }
    for (int c = used; c < channel_count; ++c) {
        if (out[c] != nullptr) std::fill_n(out[c], samples, 0.0f);
    }
    if (m.channels > 0) m.publish(block, samples);
}

void RealtimeCore::set_target_gain(float linear) noexcept {
    if (std::isfinite(linear)) impl_->target_gain_goal.store(linear, std::memory_order_relaxed);
}
void RealtimeCore::set_remainder_gain(float linear) noexcept {
    if (std::isfinite(linear)) impl_->remainder_gain_goal.store(linear, std::memory_order_relaxed);
}
void RealtimeCore::set_bypass(bool on) noexcept {
    impl_->bypass_goal.store(on, std::memory_order_relaxed);
}
void RealtimeCore::set_latency_samples(std::int64_t samples) noexcept {
    impl_->latency_goal.store(samples, std::memory_order_relaxed);
}
void RealtimeCore::set_offline_timeout_seconds(double seconds) noexcept {
    if (seconds >= 0.0) impl_->offline_timeout_seconds.store(seconds, std::memory_order_relaxed);
}

std::int64_t RealtimeCore::latency_samples() const noexcept {
    return std::clamp<Position>(impl_->latency_goal.load(std::memory_order_relaxed), 0,
                                impl_->max_latency);
}
bool RealtimeCore::attached() const noexcept {
    return impl_->server_attached.load(std::memory_order_relaxed);
}

CoreStatus RealtimeCore::status() const noexcept {
    constexpr auto relaxed = std::memory_order_relaxed;
    const Impl& m = *impl_;
    CoreStatus s;
    s.state = static_cast<CoreState>(m.state.load(relaxed));
    // While the host does not call process(), housekeeping() knows better.
    const bool attached = m.server_attached.load(relaxed);
    if (!attached && s.state >= CoreState::starting) {
        const bool died = m.dead_generation.load(relaxed) == m.seen_generation.load(relaxed);
        s.state = died ? CoreState::server_gone : CoreState::no_server;
    }
    if (attached && s.state == CoreState::no_server) s.state = CoreState::starting;
    s.latency_samples = m.latency.load(relaxed);
    s.needed_latency_samples = m.needed_latency.load(relaxed);
    s.blocks = m.blocks.get();
    s.samples = m.samples.get();
    s.missed_blocks = m.missed_blocks.get();
    s.missed_samples = m.missed_samples.get();
    s.overflowed_samples = m.overflowed.get();
    s.waits = m.waits.get();
    s.timeouts = m.timeouts.get();
    s.sanitised_samples = m.sanitised.get();
    s.faults = m.faults.get();
    s.wakes = m.wakes.get();
    s.input_peak = m.input_peak.load(relaxed);
    s.target_peak = m.target_peak.load(relaxed);
    s.remainder_peak = m.remainder_peak.load(relaxed);
    s.output_peak = m.output_peak.load(relaxed);
    s.wet_share = m.wet_share.load(relaxed);
    return s;
}

std::string RealtimeCore::link_name() const {
    const std::lock_guard<std::mutex> lock(impl_->link_mutex);
    return impl_->link ? impl_->link->name() : std::string();
}

void RealtimeCore::housekeeping() noexcept {
    Impl& m = *impl_;
    const std::lock_guard<std::mutex> lock(m.link_mutex);
    if (!m.link) return;
    m.link->beat();
    const std::uint32_t generation = m.link->server_generation();
    if (generation == 0 || !m.link->server_attached()) {
        m.server_attached.store(false, std::memory_order_relaxed);
        return;
    }
    const bool dead = m.link->server_dead();
    // A new server may have come between the two looks: then the verdict is not about it.
    if (dead && m.link->server_generation() == generation) {
        m.dead_generation.store(generation, std::memory_order_relaxed);
    }
    m.server_attached.store(!dead, std::memory_order_relaxed);
}

void RealtimeCore::detach() noexcept {
    Impl& m = *impl_;
    const std::lock_guard<std::mutex> lock(m.link_mutex);
    m.link.reset();
    m.server_attached.store(false, std::memory_order_relaxed);
}

const char* to_string(CoreState state) noexcept {
    switch (state) {
        case CoreState::unprepared:
            return "unprepared";
        case CoreState::no_link:
            return "no_link";
        case CoreState::no_server:
            return "no_server";
        case CoreState::starting:
            return "starting";
        case CoreState::wet:
            return "wet";
        case CoreState::late:
            return "late";
        case CoreState::server_gone:
            return "server_gone";
        case CoreState::offline_timeout:
            return "offline_timeout";
        case CoreState::latency_too_small:
            return "latency_too_small";
    }
    return "unknown";
}

}  // namespace stembridge
