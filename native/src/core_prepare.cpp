// The core before and between blocks: preparation, epochs, and what a block begins with (goals of
// other threads, a server that came or went).
#include <cmath>

#include "core_impl.hpp"

namespace stembridge {

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

}  // namespace stembridge
