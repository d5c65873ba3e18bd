// The core's face: one block from beginning to end, and what other threads set and read.
#include "stembridge/realtime_core.hpp"

#include <cmath>

#include "core_impl.hpp"

namespace stembridge {
namespace {

constexpr double kPeakFallSeconds = 0.25;

}  // namespace

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
