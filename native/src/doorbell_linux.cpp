// The doorbell on Linux: futexes without the PRIVATE flag, so that they work across processes.
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <ctime>

#include "doorbell.hpp"

#if !defined(SYS_futex_waitv)
#define SYS_futex_waitv 449
#endif

namespace stembridge {
namespace {

constexpr int kMaxWaitv = 128;
constexpr std::uint32_t kWaitv32Bit = 2;  // FUTEX_32; without FUTEX_PRIVATE_FLAG

struct Waitv {  // struct futex_waitv of linux/futex.h, which older headers lack
    std::uint64_t value;
    std::uint64_t address;
    std::uint32_t flags;
    std::uint32_t reserved;
};

timespec to_timespec(double seconds) noexcept {
    const double bounded = std::isfinite(seconds) ? std::clamp(seconds, 0.0, 1e6) : 1e6;
    timespec t{};
    t.tv_sec = static_cast<time_t>(bounded);
    t.tv_nsec = static_cast<long>((bounded - static_cast<double>(t.tv_sec)) * 1e9);
    return t;
}

}  // namespace

Doorbell::Doorbell(std::atomic<std::uint32_t>* word, const std::string&) : word_(word) {}
Doorbell::~Doorbell() = default;

void Doorbell::wake() noexcept {
    word_->fetch_add(1, std::memory_order_release);
    syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(word_), FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

void Doorbell::wait_for(std::uint32_t seen, double timeout_seconds) noexcept {
    if (timeout_seconds <= 0.0) return;
    const timespec timeout = to_timespec(timeout_seconds);  // relative, on the monotonic clock
    syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(word_), FUTEX_WAIT, seen, &timeout, nullptr,
            0);
}

void wait_for_any(std::atomic<std::uint32_t>* const* words, const std::uint32_t* seen, int count,
                  double timeout_seconds) noexcept {
    const timespec relative = to_timespec(timeout_seconds);
    if (count > 0 && count <= kMaxWaitv) {
        Waitv waiters[kMaxWaitv];
        for (int i = 0; i < count; ++i) {
            waiters[i] = {seen[i], reinterpret_cast<std::uintptr_t>(words[i]), kWaitv32Bit, 0};
        }
        timespec until{};
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += relative.tv_sec;
        until.tv_nsec += relative.tv_nsec;
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            ++until.tv_sec;
        }
        const long r = syscall(SYS_futex_waitv, waiters, count, 0, &until, CLOCK_MONOTONIC);
        if (r >= 0 || errno != ENOSYS) return;
    }
    timespec nap{0, 500000};
    if (relative.tv_sec == 0 && relative.tv_nsec < nap.tv_nsec) nap = relative;
    nanosleep(&nap, nullptr);
}

}  // namespace stembridge
