// Sleep on a 32-bit word in shared memory until another process changes it.
//
// The sleeper reads the word, says what it waits for, looks once more whether it is there already,
// and calls wait_for(word, seen). The waker makes it available, sees that somebody waits, counts
// the word up and calls wake(). With nobody waiting, no system call is made by anyone: that is
// for the caller to know (BellLine::wanted).
//
// Linux: futex, shared between processes. macOS 14.4 and newer (written, untested): os_sync_wait_
// on_address with the SHARED flag; older macOS: sleeps of 0.5 ms, which is not good for `live`.
// Windows (written, untested): a named auto-reset event, because WaitOnAddress cannot cross
// processes.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace stembridge {

class Doorbell {
public:
    /// `name` is unique for the link and bell; only Windows needs it. The word stays the caller's.
    Doorbell(std::atomic<std::uint32_t>* word, const std::string& name);
    ~Doorbell();
    Doorbell(const Doorbell&) = delete;
    Doorbell& operator=(const Doorbell&) = delete;

    std::atomic<std::uint32_t>& word() const noexcept { return *word_; }

    /// Counts the word up and wakes the sleeper. One system call, which never blocks.
    void wake() noexcept;
    /// Returns when the word is not `seen` any more, after `timeout_seconds`, or for no reason.
    void wait_for(std::uint32_t seen, double timeout_seconds) noexcept;

private:
    std::atomic<std::uint32_t>* word_;
#if defined(_WIN32)
    void* event_ = nullptr;
#endif
};

/// Sleeps until one of the words is not as seen any more, at most `timeout_seconds`. Linux 5.16
/// and newer: one system call (futex_waitv, up to 128 words); elsewhere it sleeps 0.5 ms at a time.
void wait_for_any(std::atomic<std::uint32_t>* const* words, const std::uint32_t* seen, int count,
                  double timeout_seconds) noexcept;

}  // namespace stembridge
