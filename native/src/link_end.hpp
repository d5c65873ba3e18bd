// What both ends of a link have in common: the mapping, its validated sizes, the bells, and the
// watch over the other end's life.
#pragma once

#include <chrono>
#include <memory>

#include "doorbell.hpp"
#include "layout.hpp"
#include "ring.hpp"
#include "shared_memory.hpp"
#include "stembridge/link.hpp"

namespace stembridge {

/// Dates the other end's heartbeat by our own clock: what counts is that the counter moves, so a
/// jumping clock over there means nothing here.
class HeartbeatWatch {
public:
    static constexpr double kStallSeconds = 2.0;
    using Clock = std::chrono::steady_clock;

    bool stalled(std::uint64_t beat) noexcept {
        const auto now = Clock::now().time_since_epoch().count();
        if (last_beat_.exchange(beat) != beat || moved_at_.load() == 0) {
            moved_at_.store(now);
            return false;
        }
        const Clock::duration still(now - moved_at_.load());
        return std::chrono::duration<double>(still).count() > kStallSeconds;
    }

private:
    std::atomic<std::uint64_t> last_beat_{0};
    std::atomic<Clock::rep> moved_at_{0};
};

struct LinkEnd {
    std::unique_ptr<SharedMemory> memory;
    SharedHeader* header = nullptr;
    Geometry geometry;
    std::unique_ptr<Doorbell> server_bell;
    std::unique_ptr<Doorbell> plugin_bell;
    HeartbeatWatch watch;

    void map(std::unique_ptr<SharedMemory> mapped, const Geometry& sizes) {
        memory = std::move(mapped);
        geometry = sizes;
        header = static_cast<SharedHeader*>(memory->data());
        server_bell = std::make_unique<Doorbell>(&header->server_bell.word, memory->name() + "-s");
        plugin_bell = std::make_unique<Doorbell>(&header->plugin_bell.word, memory->name() + "-p");
    }

    Lanes input_lanes() const noexcept {
        return {
            reinterpret_cast<float*>(static_cast<char*>(memory->data()) + geometry.input_offset),
            geometry.input_capacity};
    }
    Lanes output_lanes() const noexcept {
        return {
            reinterpret_cast<float*>(static_cast<char*>(memory->data()) + geometry.output_offset),
            geometry.output_capacity};
    }
    EndLine& line(End end) const noexcept {
        return end == End::plugin ? header->plugin : header->server;
    }

    /// The process of that end is gone and has not said that it left.
    bool is_dead(End end) const noexcept {
        const EndLine& peer = line(end);
        if (static_cast<EndState>(peer.state.load(std::memory_order_acquire)) !=
            EndState::attached) {
            return false;
        }
        switch (memory->lock_held(end)) {
            case SharedMemory::Held::yes:
                return false;
            case SharedMemory::Held::no:
                return true;
            case SharedMemory::Held::unknown:
                break;
        }
        return !process_exists(peer.pid.load(std::memory_order_relaxed));
    }

    PeerState peer_state(End end) noexcept {
        const EndLine& peer = line(end);
        switch (static_cast<EndState>(peer.state.load(std::memory_order_acquire))) {
            case EndState::never:
                return PeerState::never;
            case EndState::left:
                return PeerState::left;
            default:
                break;  // attached; anything else is corruption, and the lock knows better
        }
        if (is_dead(end)) return PeerState::dead;
        return watch.stalled(peer.beat.load(std::memory_order_relaxed)) ? PeerState::stalled
                                                                        : PeerState::alive;
    }

    void beat(End own) const noexcept { line(own).beat.fetch_add(1, std::memory_order_relaxed); }
};

/// Sleeps on `bell` until `ready()`; `announce(true)` says what is waited for, `announce(false)`
/// that nobody waits. Returns ready()'s last answer.
template <class Ready, class Announce>
bool sleep_until(Doorbell& bell, double timeout_seconds, Ready&& ready, Announce&& announce) {
    using Clock = std::chrono::steady_clock;
    if (ready()) return true;
    if (!(timeout_seconds > 0.0)) return false;
    const auto start = Clock::now();
    while (true) {
        const double left =
            timeout_seconds - std::chrono::duration<double>(Clock::now() - start).count();
        if (left <= 0.0) return ready();
        const std::uint32_t seen = bell.word().load(std::memory_order_acquire);
        announce(true);
        // Pairs with the fence of the waker: either we see its audio, or it sees that we wait.
        std::atomic_thread_fence(std::memory_order_seq_cst);
        if (!ready()) bell.wait_for(seen, left < 0.25 ? left : 0.25);
        announce(false);
        if (ready()) return true;
    }
}

/// The waker's half: true when somebody waits for at most `reached`; that wait is then taken.
inline bool take_waiter(std::atomic<Position>& wanted, Position reached) noexcept {
    if (wanted.load(std::memory_order_relaxed) > reached) return false;
    return wanted.exchange(kNobody, std::memory_order_relaxed) != kNobody;
}

}  // namespace stembridge
