// The doorbell on macOS. Written after Apple's documentation, untested.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>

#include "doorbell.hpp"

#if __has_include(<os/os_sync_wait_on_address.h>)
#include <os/clock.h>
#include <os/os_sync_wait_on_address.h>
#define STEMBRIDGE_HAS_OS_SYNC 1
#else
#define STEMBRIDGE_HAS_OS_SYNC 0
#endif

namespace stembridge {

Doorbell::Doorbell(std::atomic<std::uint32_t>* word, const std::string&) : word_(word) {}
Doorbell::~Doorbell() = default;

void Doorbell::wake() noexcept {
    word_->fetch_add(1, std::memory_order_release);
#if STEMBRIDGE_HAS_OS_SYNC
    if (__builtin_available(macOS 14.4, *)) {
        os_sync_wake_by_address_any(word_, 4, OS_SYNC_WAKE_BY_ADDRESS_SHARED);
    }
#endif
}

void Doorbell::wait_for(std::uint32_t seen, double timeout_seconds) noexcept {
    if (timeout_seconds <= 0.0) return;
    const double bounded = std::isfinite(timeout_seconds) ? std::min(timeout_seconds, 1e6) : 1e6;
#if STEMBRIDGE_HAS_OS_SYNC
    if (__builtin_available(macOS 14.4, *)) {
        os_sync_wait_on_address_with_timeout(
            word_, seen, 4, OS_SYNC_WAIT_ON_ADDRESS_SHARED, OS_CLOCK_MACH_ABSOLUTE_TIME,
            std::max<std::uint64_t>(1, static_cast<std::uint64_t>(bounded * 1e9)));
        return;
    }
#endif
    if (word_->load(std::memory_order_acquire) != seen) return;
    std::this_thread::sleep_for(std::chrono::duration<double>(std::min(bounded, 0.0005)));
}

void wait_for_any(std::atomic<std::uint32_t>* const* words, const std::uint32_t* seen, int count,
                  double timeout_seconds) noexcept {
    for (int i = 0; i < count; ++i) {
        if (words[i]->load(std::memory_order_acquire) != seen[i]) return;
    }
    std::this_thread::sleep_for(
        std::chrono::duration<double>(std::clamp(timeout_seconds, 0.0, 0.0005)));
}

}  // namespace stembridge
