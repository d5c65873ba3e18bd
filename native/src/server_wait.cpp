// Waiting for input on many links at once, and removing what dead plugins left behind.
#include "server_state.hpp"

namespace stembridge {

std::vector<int> wait_any(const std::vector<ServerLink*>& links,
                          const std::vector<std::int64_t>& positions, double timeout_seconds) {
    using Clock = std::chrono::steady_clock;
    const auto start = Clock::now();
    const std::size_t count = std::min(links.size(), positions.size());
    std::vector<int> ready;
    std::vector<std::atomic<std::uint32_t>*> words(count);
    std::vector<std::uint32_t> seen(count);
    const auto collect = [&] {
        for (std::size_t i = 0; i < count; ++i) {
            if (links[i]->state_->has_input(positions[i])) ready.push_back(static_cast<int>(i));
        }
        return !ready.empty();
    };
    for (std::size_t i = 0; i < count; ++i) {
        words[i] = &links[i]->state_->header->server_bell.word;
        links[i]->state_->beat(End::server);
    }
    while (!collect()) {
        const double left =
            timeout_seconds - std::chrono::duration<double>(Clock::now() - start).count();
        if (!(left > 0.0)) break;
        for (std::size_t i = 0; i < count; ++i) {
            seen[i] = words[i]->load(std::memory_order_acquire);
            links[i]->state_->header->server_bell.wanted.store(positions[i],
                                                               std::memory_order_relaxed);
        }
        std::atomic_thread_fence(std::memory_order_seq_cst);
        const bool found = collect();
        if (!found) {
            wait_for_any(words.data(), seen.data(), static_cast<int>(count), std::min(left, 0.25));
        }
        for (std::size_t i = 0; i < count; ++i) {
            links[i]->state_->header->server_bell.wanted.store(kNobody, std::memory_order_relaxed);
        }
        if (found) break;
    }
    return ready;
}

int sweep_stale() noexcept {
    int removed = 0;
    try {
        SharedMemory::for_each([&](SharedMemory& memory, double age_seconds) {
            if (memory.lock_held(End::plugin) != SharedMemory::Held::no) return;
            // Between creation and the first lock an object is unlocked and without its mark.
            const bool marked =
                memory.bytes() >= sizeof(SharedHeader) &&
                static_cast<const SharedHeader*>(memory.data())->magic.load() == kMagic;
            if (!marked && age_seconds < 10.0) return;
            memory.unlink();
            ++removed;
        });
    } catch (...) {  // out of memory while listing: sweep another time
    }
    return removed;
}

const char* to_string(PeerState state) noexcept {
    switch (state) {
        case PeerState::never:
            return "never";
        case PeerState::alive:
            return "alive";
        case PeerState::stalled:
            return "stalled";
        case PeerState::left:
            return "left";
        case PeerState::dead:
            return "dead";
    }
    return "unknown";
}

}  // namespace stembridge
