// What lies in the shared memory, byte for byte: the header, then the input ring, then the output
// ring. Both ends map it; see include/stembridge/link.hpp for what the words mean.
//
// Every word that changes is a lock-free atomic and lies on a cache line that only one side
// writes, so the two processes never fight over a line. The first 16 bytes (magic, version) keep
// their place in every protocol version, so that a mismatch can always be named.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace stembridge {

using Position = std::int64_t;

constexpr std::uint64_t kMagic = 0x3145474449524253ull;  // "SBRIDGE1", little-endian
constexpr std::size_t kCacheLine = 64;
constexpr std::size_t kPage = 4096;
constexpr int kMaxChannels = 8;
constexpr Position kMaxCapacity = Position{1} << 24;  // 5.8 minutes at 48 kHz
constexpr Position kMaxPosition = Position{1} << 62;
constexpr Position kNobody = std::numeric_limits<Position>::max();  // nobody waits

/// A position from shared memory that can be computed with.
constexpr bool is_sane(Position p) noexcept {
    return p >= 0 && p < kMaxPosition;
}

/// Lanes of the output ring: target, output, share.
constexpr int output_lanes(int channels) noexcept {
    return 2 * channels + 1;
}

enum Flags : std::uint32_t { kBypassed = 1u << 0, kOffline = 1u << 1 };
enum class EndState : std::uint32_t { never = 0, attached = 1, left = 2 };

struct alignas(kCacheLine) RingWriterLine {
    std::atomic<Position> end;          // one past the newest sample
    std::atomic<Position> begin_valid;  // everything before is void
    std::atomic<Position> hole_begin;   // output ring only: nothing lies in [hole_begin, hole_end)
    std::atomic<Position> hole_end;
    std::atomic<std::uint32_t> epoch;  // input ring only
};

struct alignas(kCacheLine) RingReaderLine {
    std::atomic<Position> done;     // everything before may be overwritten
    std::atomic<Position> restart;  // server: nothing that it had not answered before will come
};

// Written by the sleeper, except that the waker clears `wanted` and counts `word` up.
struct alignas(kCacheLine) BellLine {
    std::atomic<std::uint32_t> word;    // the futex
    std::atomic<Position> wanted;       // position slept for, or kNobody
    std::atomic<Position> wanted_room;  // plugin's bell only: reader's `done` slept for
};

struct alignas(kCacheLine) FormatLine {           // written by the plugin end before `epoch`
    std::atomic<std::uint64_t> sample_rate_bits;  // a double
    std::atomic<std::int64_t> latency_samples;
    std::atomic<std::uint32_t> max_block_samples;
    std::atomic<std::uint32_t> fade_samples;
    std::atomic<std::uint32_t> flags;
};

struct alignas(kCacheLine) EndLine {  // one for each end, written by it
    std::atomic<std::int64_t> pid;
    std::atomic<std::uint64_t> beat;
    std::atomic<std::uint32_t> state;                  // EndState
    std::atomic<std::uint32_t> generation;             // how often this end has attached
    std::atomic<std::int64_t> chain_latency_samples;   // server's
    std::atomic<std::int64_t> needed_latency_samples;  // server's
};

struct SharedHeader {
    // Written once by the plugin end; `magic` last.
    alignas(kCacheLine) std::atomic<std::uint64_t> magic;
    std::uint32_t protocol_version;
    std::uint32_t header_bytes;
    std::uint64_t total_bytes;
    std::uint32_t channels;
    std::uint32_t reserved;
    Position input_capacity;
    Position output_capacity;
    std::uint64_t input_offset;
    std::uint64_t output_offset;

    FormatLine format;
    RingWriterLine input_writer;   // plugin
    RingReaderLine input_reader;   // server
    RingWriterLine output_writer;  // server
    RingReaderLine output_reader;  // plugin
    BellLine server_bell;          // the server sleeps on it
    BellLine plugin_bell;          // the plugin sleeps on it, offline only
    EndLine plugin;
    EndLine server;
};

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
static_assert(std::atomic<std::int64_t>::is_always_lock_free);
static_assert(std::atomic<std::uint32_t>::is_always_lock_free);
static_assert(sizeof(std::atomic<std::uint32_t>) == 4, "the futex word is 32 bits");
static_assert(sizeof(SharedHeader) <= kPage);
static_assert(offsetof(SharedHeader, protocol_version) == 8);

/// Sizes after validation, kept privately by each end; shared memory is not asked again.
struct Geometry {
    int channels = 0;
    Position input_capacity = 0;
    Position output_capacity = 0;
    std::uint64_t input_offset = 0;
    std::uint64_t output_offset = 0;
    std::uint64_t total_bytes = 0;
};

constexpr Position power_of_two_at_least(Position n) noexcept {
    Position p = 1;
    while (p < n) p <<= 1;
    return p;
}

/// The one geometry that belongs to these sizes (capacities already powers of two).
constexpr Geometry make_geometry(int channels, Position input_capacity,
                                 Position output_capacity) noexcept {
    Geometry g;
    g.channels = channels;
    g.input_capacity = input_capacity;
    g.output_capacity = output_capacity;
    const auto round_up = [](std::uint64_t n) { return (n + kPage - 1) / kPage * kPage; };
    g.input_offset = kPage;
    g.output_offset = g.input_offset + round_up(static_cast<std::uint64_t>(input_capacity) *
                                                static_cast<std::uint64_t>(channels) * 4);
    g.total_bytes =
        g.output_offset + round_up(static_cast<std::uint64_t>(output_capacity) *
                                   static_cast<std::uint64_t>(output_lanes(channels)) * 4);
    return g;
}

}  // namespace stembridge
