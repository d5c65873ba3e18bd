// The doorbell on Windows: named auto-reset events. Written after Microsoft's documentation,
// untested. SetEvent leaves the event set when nobody waits, so a wake between the look and the
// sleep is not lost; it can only end a later sleep early, which wait_for() allows.
#define NOMINMAX
#include <windows.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>

#include "doorbell.hpp"

namespace stembridge {

Doorbell::Doorbell(std::atomic<std::uint32_t>* word, const std::string& name) : word_(word) {
    const std::string event = "Local\\" + name.substr(name.find_first_not_of('/'));
    event_ = CreateEventA(nullptr, FALSE, FALSE, event.c_str());
}

Doorbell::~Doorbell() {
    if (event_ != nullptr) CloseHandle(event_);
}

void Doorbell::wake() noexcept {
    word_->fetch_add(1, std::memory_order_release);
    if (event_ != nullptr) SetEvent(event_);
}

void Doorbell::wait_for(std::uint32_t seen, double timeout_seconds) noexcept {
    if (timeout_seconds <= 0.0 || word_->load(std::memory_order_acquire) != seen) return;
    const double bounded = std::isfinite(timeout_seconds) ? std::min(timeout_seconds, 1e6) : 1e6;
    const auto milliseconds = static_cast<DWORD>(std::ceil(bounded * 1000.0));
    if (event_ != nullptr) {
        WaitForSingleObject(event_, milliseconds);
    } else {
        Sleep(1);
    }
}

void wait_for_any(std::atomic<std::uint32_t>* const* words, const std::uint32_t* seen, int count,
                  double timeout_seconds) noexcept {
    for (int i = 0; i < count; ++i) {
        if (words[i]->load(std::memory_order_acquire) != seen[i]) return;
    }
    std::this_thread::sleep_for(
        std::chrono::duration<double>(std::clamp(timeout_seconds, 0.0, 0.001)));
}

}  // namespace stembridge
