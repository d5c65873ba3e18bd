// The two halves of a wait-free single-producer single-consumer ring of planar float32 samples.
//
// Sample p lies at index p & (capacity - 1) of its lane. The writer never touches [done, done +
// capacity) outside what is free, the reader never touches anything but [begin_valid, end), and
// both publish with release and look with acquire, so plain copies never race:
//
//         void      |   readable    |        free
//   ----------------|===============|---------------------  positions ->
//          begin_valid   ^         end              done + capacity
//                       done
//
// begin_valid > done is the writer's word that what lies between is lost or of an older epoch; it
// still may not be overwritten before the reader has moved on. Whatever the other side writes into
// its line, lengths are clamped to the private capacity and indices masked by it.
#pragma once

#include <algorithm>
#include <cstring>

#include "layout.hpp"

namespace stembridge {

/// The audio of one ring; each end has its own copy of the sizes.
struct Lanes {
    float* base = nullptr;
    Position capacity = 0;  // a power of two

    float* lane(int index) const noexcept { return base + capacity * index; }

    void put(int index, Position position, const float* source, Position samples) const noexcept {
        const Position at = position & (capacity - 1);
        const Position first = std::min(samples, capacity - at);
        std::memcpy(lane(index) + at, source, static_cast<std::size_t>(first) * sizeof(float));
        std::memcpy(lane(index), source + first,
                    static_cast<std::size_t>(samples - first) * sizeof(float));
    }

    void fill(int index, Position position, float value, Position samples) const noexcept {
        const Position at = position & (capacity - 1);
        const Position first = std::min(samples, capacity - at);
        std::fill_n(lane(index) + at, first, value);
        std::fill_n(lane(index), samples - first, value);
    }

    void get(int index, Position position, float* target, Position samples) const noexcept {
        const Position at = position & (capacity - 1);
        const Position first = std::min(samples, capacity - at);
        std::memcpy(target, lane(index) + at, static_cast<std::size_t>(first) * sizeof(float));
        std::memcpy(target + first, lane(index),
                    static_cast<std::size_t>(samples - first) * sizeof(float));
    }
};

/// The writer's half. `end` and `begin_valid` are private truth, shared memory gets copies.
struct RingWriter {
    Lanes lanes;
    RingWriterLine* mine = nullptr;
    const RingReaderLine* theirs = nullptr;
    Position end = 0;
    Position begin_valid = 0;

    /// What the reader has released; never beyond what makes sense for a reader of this ring.
    Position done() const noexcept {
        const Position done = theirs->done.load(std::memory_order_acquire);
        return is_sane(done) ? done : end - lanes.capacity;  // nonsense: no room
    }
    Position room() const noexcept {
        return std::clamp<Position>(done() + lanes.capacity - end, 0, lanes.capacity);
    }
    void publish() noexcept {
        mine->begin_valid.store(begin_valid, std::memory_order_relaxed);
        mine->end.store(end, std::memory_order_release);
    }
    /// Moves on without audio: everything before `position` is void.
    void skip_to(Position position) noexcept {
        end = position;
        begin_valid = position;
        publish();
    }
};

/// What a reader sees at one moment: [begin, end), of `epoch`, at most `capacity` long.
struct Readable {
    Position begin = 0;
    Position end = 0;
    std::uint32_t epoch = 0;
    bool fault = false;
};

inline Readable look(const RingWriterLine& theirs, Position capacity) noexcept {
    Readable r;
    // In this order: audio up to `end` belongs to `epoch` or earlier ones, and a begin_valid read
    // after `epoch` voids those earlier ones.
    r.end = theirs.end.load(std::memory_order_acquire);
    r.epoch = theirs.epoch.load(std::memory_order_acquire);
    r.begin = theirs.begin_valid.load(std::memory_order_acquire);
    if (!is_sane(r.end) || !is_sane(r.begin)) {
        r.fault = true;
        r.begin = r.end = 0;
        return r;
    }
    r.begin = std::max(r.begin, r.end - capacity);
    return r;
}

}  // namespace stembridge
