// The shared-memory link between one plugin instance and the separation server.
//
// The plugin end creates one POSIX shared-memory object (random name, mode 0600); the server end
// opens it by the name that came over OSC. Two wait-free single-producer single-consumer rings
// carry audio, planar float32:
//
//   input ring   plugin -> server   lanes: channel 0 … C-1
//   output ring  server -> plugin   lanes: target 0 … C-1, output 0 … C-1, share
//
// Positions. Every sample has one number, counted by the plugin end from the link's creation and
// never counted back. Sample p lies at index p modulo capacity. A ring's writer publishes `end`
// (one past its newest sample) and `begin_valid` (everything before is void: lost or of an older
// epoch), the server's also one hole for which no output comes; its reader publishes `done`
// (everything before may be overwritten). Output carries the number of the input that it belongs
// to, so late audio is dropped by number, never by counting.
//
// Epochs. reset() or a change of sample rate bumps `epoch` and voids everything before the
// current position. ServerLink::read never mixes epochs: one call returns samples of one epoch.
//
// A full input ring (server hung or absent) loses its content: the position runs on, and what
// was not read becomes void. The server sees that as `lost_samples`.
//
// Nothing that was read from shared memory is trusted: sizes are validated once and copied, and
// indices are masked by the private copy, so a corrupt segment gives noise or an error.
//
// Liveness is a kernel lock on the object's file description (it goes with the process, also by
// kill -9), where the platform has one (Linux); heartbeats, dated by the observer's own clock when
// the counter moves, tell a stopped process from a living one and serve elsewhere.
//
// Unlinking. The plugin end removes the name when it goes. The server end leaves it, so that a
// restarted server can attach again, unless the plugin end is dead: then it removes it. Both ends
// sweep objects of dead processes when they start (sweep_stale).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "stembridge/errors.hpp"

namespace stembridge {

constexpr std::uint32_t kProtocolVersion = 2;

/// What the plugin end tells about its audio; constant within an epoch.
struct LinkFormat {
    double sample_rate_hz = 48000.0;
    int channels = 2;  ///< constant for the life of a link
    int max_block_samples = 8192;
    std::int64_t latency_samples = 0;  ///< reported to the host
    int fade_samples = 0;              ///< output must reach this far beyond what is played
};

struct LinkCapacity {
    std::int64_t input_samples = 0;   ///< rounded up to a power of two
    std::int64_t output_samples = 0;  ///< rounded up to a power of two
};

enum class PeerState : std::uint32_t {
    never,  ///< nobody has been at the other end yet
    alive,
    stalled,  ///< holds the link, but its heartbeat stands for more than 2 s
    left,     ///< detached in order
    dead,     ///< the process is gone
};
const char* to_string(PeerState state) noexcept;

/// The end that lives in the plugin. Methods marked RT are for the audio thread.
class PluginLink {
public:
    /// Not real-time: reserves, touches and locks (best effort) the memory. Throws LinkError,
    /// for a full /dev/shm too.
    static std::unique_ptr<PluginLink> create(const LinkFormat& format,
                                              const LinkCapacity& capacity);
    ~PluginLink();

    const std::string& name() const noexcept;
    const LinkFormat& format() const noexcept;
    LinkCapacity capacity() const noexcept;

    /// RT. Position of the next sample that write() takes.
    std::int64_t position() const noexcept;
    /// RT. Starts a new epoch at position(). Returns its number.
    std::uint32_t begin_epoch() noexcept;
    /// Not while write() runs. Like begin_epoch, with a new rate, block or latency; channels stay.
    std::uint32_t begin_epoch(const LinkFormat& format);
    /// RT. Tells the server of a new latency within the epoch.
    void set_latency_samples(std::int64_t samples) noexcept;
    /// RT. Hints to the server: it may rest while bypassed; a host that renders offline waits.
    void set_flags(bool bypassed, bool offline) noexcept;

    /// RT. Takes all `samples` (at most the ring's capacity): false = the ring was full and its
    /// content is lost. `channels` are `format().channels` pointers.
    bool write(const float* const* channels, std::int64_t samples) noexcept;
    /// RT. Room that write() has before it would lose something.
    std::int64_t room() const noexcept;

    /// RT. What the server has delivered: [begin, end) without [hole_begin, hole_end), begin and
    /// end clamped to what is possible.
    struct Ready {
        std::int64_t begin = 0;
        std::int64_t end = 0;
        std::int64_t hole_begin = 0;
        std::int64_t hole_end = 0;
        bool fault = false;  ///< the header held impossible values

        /// The unbroken stretch that `position` lies in or that comes next after it; a hole that
        /// begins at or before `before` counts as passed.
        Ready around(std::int64_t position, std::int64_t before) const noexcept {
            Ready r = *this;
            if (hole_end <= hole_begin) return r;
            if (position >= hole_begin || before >= hole_begin) {
                r.begin = begin > hole_end ? begin : hole_end;
            } else {
                r.end = end < hole_begin ? end : hole_begin;
            }
            return r;
        }
    };
    Ready ready() const noexcept;
    /// RT. Output before this will not come any more, unless ready() has it: its input was lost,
    /// skipped by the server, or belongs to an older epoch.
    std::int64_t void_before() const noexcept;
    /// RT. Copies output lanes of [position, position + samples), which must lie inside ready().
    /// `target` and `output` are channels pointers, `share` one; each may be null.
    void copy(std::int64_t position, std::int64_t samples, float* const* target,
              float* const* output, float* share) const noexcept;
    /// RT. Everything before `position` has been played or missed.
    void release(std::int64_t position) noexcept;

    /// RT. Wakes the server if it sleeps and what it waits for is here. True: a wake was sent.
    bool ring() noexcept;
    /// Sleeps until output reaches `position` or will never come (void_before), at most
    /// `timeout_seconds`. True: one of the two.
    bool wait_output(std::int64_t position, double timeout_seconds) noexcept;
    /// Sleeps until room() >= samples, at most `timeout_seconds`.
    bool wait_room(std::int64_t samples, double timeout_seconds) noexcept;

    /// RT. The flag that the server sets while it is on the link (a dead one leaves it set).
    bool server_attached() const noexcept;
    /// RT. How often a server has attached.
    std::uint32_t server_generation() const noexcept;
    /// RT. What ServerLink::publish_latency() said; 0 if nothing.
    std::int64_t chain_latency_samples() const noexcept;
    std::int64_t needed_latency_samples() const noexcept;
    /// Not real-time (asks the kernel). Heartbeats are dated here: one thread calls it.
    PeerState server_state() noexcept;
    /// Not real-time (asks the kernel). The process that attached last is gone without a word.
    bool server_dead() const noexcept;
    std::int64_t server_pid() const noexcept;
    void beat() noexcept;  ///< heartbeat; several times a second, on a background thread

private:
    PluginLink() = default;
    struct State;
    std::unique_ptr<State> state_;
};

/// The end that lives in the server. Not real-time, but wait-free except where it says "sleeps".
/// One thread at a time reads, one writes; state questions come from any thread.
class ServerLink {
public:
    /// Attaches. Throws LinkError: no such link, another protocol version (names both), corrupt
    /// header, another server is on it (names its pid), the plugin is dead.
    /// Reading starts at the oldest input that can still be heard in time.
    static std::unique_ptr<ServerLink> open(const std::string& name);
    ~ServerLink();

    const std::string& name() const noexcept;
    int channels() const noexcept;
    /// Of the epoch that read() last returned. Validated. Throws LinkError when corrupt.
    LinkFormat format() const;
    LinkCapacity capacity() const noexcept;

    struct Span {
        std::int64_t position = 0;      ///< number of the first sample
        std::int64_t samples = 0;       ///< how many were copied
        std::int64_t lost_samples = 0;  ///< void samples between the last span and this one
        std::uint32_t epoch = 0;        ///< a new number: reset the chain, read format() again
    };
    /// Copies at most `max_samples` of the newest epoch.
    Span read(float* const* channels, std::int64_t max_samples) noexcept;
    std::int64_t available() const noexcept;
    /// Position of the next sample that read() returns.
    std::int64_t position() const noexcept;
    /// Drops input before `position`, as far as it has come. The output restarts there.
    void skip_to(std::int64_t position) noexcept;
    /// Where the plugin plays now: output before it comes too late to be heard.
    std::int64_t play_position() const noexcept;

    /// Writes output of [position, position + samples). Positions of successive calls must not
    /// go back; a jump forward leaves a gap that is played dry. `output` null: zeros; `share`
    /// null: constant `share_value`. Returns how many samples were taken (or dropped as late);
    /// fewer than `samples` when the plugin has not made room yet: try the rest later.
    std::int64_t write(std::int64_t position, std::int64_t samples, const float* const* target,
                       const float* const* output = nullptr, const float* share = nullptr,
                       float share_value = 0.0f) noexcept;

    /// Sleeps until input reaches `position` (all before it is readable), the epoch changes,
    /// interrupt() is called, the plugin leaves, or `timeout_seconds` pass. True: something is to
    /// be done; when read() then has nothing, ask plugin_state().
    bool wait_input(std::int64_t position, double timeout_seconds) noexcept;
    /// Ends a running or the next wait_input(). Any thread.
    void interrupt() noexcept;

    /// `chain_samples`: how far output lies behind input at worst, without any budget (offline
    /// waits need so much); `needed_samples`: what the plugin should report, all parts together.
    void publish_latency(std::int64_t chain_samples, std::int64_t needed_samples) noexcept;
    std::uint32_t epoch() const noexcept;
    bool bypassed() const noexcept;
    bool offline() const noexcept;
    PeerState plugin_state() noexcept;
    std::int64_t plugin_pid() const noexcept;
    void beat() noexcept;  ///< heartbeat; several times a second, not on the worker's thread
    /// Throws LinkError when the header no longer is what was validated at open().
    void check() const;

private:
    ServerLink() = default;
    friend std::vector<int> wait_any(const std::vector<ServerLink*>&,
                                     const std::vector<std::int64_t>&, double);
    struct State;
    std::unique_ptr<State> state_;
};

/// Sleeps until wait_input(positions[i]) would return at once for at least one of the links, at
/// most `timeout_seconds`. Returns the indices of those; empty after the time-out. One thread can
/// so wait for all sessions (Linux 5.16 and newer: one system call for up to 128 links).
std::vector<int> wait_any(const std::vector<ServerLink*>& links,
                          const std::vector<std::int64_t>& positions, double timeout_seconds);

/// Removes objects of this user whose plugin end is dead. Returns how many. Linux only (elsewhere
/// names cannot be listed): returns 0.
int sweep_stale() noexcept;

}  // namespace stembridge
