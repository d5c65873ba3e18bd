// The way in: input to the delay line and to the server, and the waits of an offline render, which
// are bounded and the only ones of the core.
#include <chrono>

#include "core_impl.hpp"

namespace stembridge {
namespace {

constexpr double kWaitSliceSeconds = 0.05;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) noexcept {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

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

}  // namespace stembridge
