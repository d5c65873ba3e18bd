// Everything that the plugin does per block, without a DAW.
//
// Latency: `latency_samples()` samples, constant from one prepare() to the next, whether a server
// is there or not. Sample i of the output belongs to sample i - latency of the input.
//
//     host block --> sanitise --+--> dry delay line (private) --------------+
//                               |                                           v
//                               +--> ring to the server     ring back --> mix --> host block
//                                                     target lanes, share
//
//   wet = (1 - s) * (g_t * target + g_r * (dry - target)) + s * output      (per sample)
//   out = w * wet + (1 - w) * dry
//
// g_t, g_r: gains set here, ramped over `fade_seconds`; they act at once and need no server.
// s: the "share" lane that the server sends with each sample: 0 = form the mix here from the
//   target (exact: target + remainder == delayed input); 1 = play the server's `output` lanes,
//   for presets with effects after the mix. The server may cross-fade between the two.
// w: 1 while the server is in time. It never exceeds (runway / fade), where the runway is how many
//   samples the server's audio reaches beyond the one that is played: a server that gets late or
//   dies is heard as a fade to the aligned dry input; when it is back, as a fade to wet.
//
// Threads: prepare(), detach() and the destructor while no process() runs (as hosts promise);
// process() and reset() on the audio thread; housekeeping() on one background thread, any time;
// setters, status() and attached() on any thread, any time. In real time (offline_wait == false)
// the audio thread does not wait, lock, allocate or log; the only system call is one futex wake
// when a server sleeps and the position that it waits for has been crossed (at most once per
// block).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "stembridge/errors.hpp"

namespace stembridge {

struct CoreConfig {
    double sample_rate_hz = 48000.0;
    int channels = 2;              ///< 1 to 8
    int max_block_samples = 8192;  ///< larger blocks work too; this sizes rings and the budget
    std::int64_t latency_samples = 0;
    /// Room is made for this much, so that set_latency_samples() needs no new link.
    std::int64_t max_latency_samples = 0;  ///< 0: the larger of latency_samples and 1.5 s
    double fade_seconds = 0.005;           ///< length of every cross-fade and gain ramp
};

enum class CoreState : std::uint32_t {
    unprepared = 0,
    no_link,            ///< shared memory could not be made: plays aligned dry
    no_server,          ///< nobody has attached to the link yet, or the server left
    starting,           ///< attached, its first audio is not due yet or not here yet
    wet,                ///< plays what the server sends
    late,               ///< attached, but the audio that is due is not here: aligned dry
    server_gone,        ///< it was attached and died
    offline_timeout,    ///< offline wait gave up: aligned dry until the server moves again
    latency_too_small,  ///< the server needs more latency than is reported; see status()
};
const char* to_string(CoreState state) noexcept;

/// A copy of counters and meters. Counters run from prepare(). Peaks are held and fall with a time
/// constant of a quarter of a second of audio, so that a face that looks now and then misses none.
struct CoreStatus {
    CoreState state = CoreState::unprepared;
    std::int64_t latency_samples = 0;
    std::int64_t needed_latency_samples = 0;  ///< what the server asks for; 0: not said
    std::uint64_t blocks = 0;
    std::uint64_t samples = 0;
    std::uint64_t missed_blocks = 0;       ///< attached, and at least one sample was not wholly wet
    std::uint64_t missed_samples = 0;      ///< samples that were due and had not come
    std::uint64_t overflowed_samples = 0;  ///< input that found the ring full
    std::uint64_t waits = 0;               ///< offline waits that really slept
    std::uint64_t timeouts = 0;            ///< offline waits that gave up
    std::uint64_t sanitised_samples = 0;   ///< NaN, infinite or denormal, from host or server
    std::uint64_t faults = 0;              ///< impossible values found in the shared header
    std::uint64_t wakes = 0;               ///< futex wakes by the audio thread
    float input_peak = 0, target_peak = 0, remainder_peak = 0, output_peak = 0;  ///< linear
    float wet_share = 0;  ///< w at the end of the last block
};

/// Optional second outputs of one process() call; each pointer may be null.
struct ProcessTaps {
    float* const* target = nullptr;     ///< (channels, samples), before gains, 0 where not wet
    float* const* remainder = nullptr;  ///< delayed input - target
};

class RealtimeCore {
public:
    RealtimeCore();
    ~RealtimeCore();
    RealtimeCore(const RealtimeCore&) = delete;
    RealtimeCore& operator=(const RealtimeCore&) = delete;

    /// Not real-time. Makes or keeps the link: the name stays the same when channels and room
    /// still fit (also across a change of sample rate), so the server's session lives on with a
    /// new epoch. Throws LinkError for a bad configuration, or when shared memory cannot be
    /// reserved; in that last case the core is ready and plays aligned dry (state no_link).
    void prepare(const CoreConfig& config);

    /// Real-time safe. Starts a new epoch: nothing fed before is ever heard afterwards.
    void reset() noexcept;

    /// Real-time safe. `in` and `out` are `channels` pointers to `samples` floats each, any
    /// samples >= 0; they may be the same buffers. More channels than prepared pass undelayed
    /// never: they are filled with silence.
    /// offline_wait: wait for every sample (bounded by set_offline_timeout_seconds without
    /// progress; not at all while no server has attached to this link, or it is gone).
    void process(const float* const* in, float* const* out, int channels, int samples,
                 bool offline_wait, const ProcessTaps& taps = {}) noexcept;

    /// In place.
    void process(float* const* channels, int channel_count, int samples,
                 bool offline_wait) noexcept {
        process(channels, channels, channel_count, samples, offline_wait);
    }

    // Handed to the audio thread by atomics; ramped there over fade_seconds.
    void set_target_gain(float linear) noexcept;
    void set_remainder_gain(float linear) noexcept;
    void set_bypass(bool on) noexcept;  ///< delayed dry; the server may rest meanwhile
    /// Takes effect at the next block by a short dip (the host must be told). Clamped to the
    /// room made by prepare().
    void set_latency_samples(std::int64_t samples) noexcept;
    void set_offline_timeout_seconds(double seconds) noexcept;  ///< default 60

    std::int64_t latency_samples() const noexcept;
    /// A server is on the link now and alive (as of the last housekeeping()).
    bool attached() const noexcept;
    CoreStatus status() const noexcept;

    /// For OSC "open". Empty when there is no link. Not real-time.
    std::string link_name() const;
    /// Not real-time. Heartbeat, looks whether the server lives. Call 5 to 20 times a second.
    void housekeeping() noexcept;
    /// Not real-time. Removes the shared-memory object; the core plays dry until prepare().
    void detach() noexcept;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace stembridge
