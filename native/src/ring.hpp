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
// still may not be overwritten before the reader has moved on. A writer that jumps ahead may leave
// a hole instead: what it wrote before stays readable, so that the reader fades out towards the
// hole instead of losing what it is about to play. There is one hole at a time: a second one joins
// the first unless that has been passed. Whatever the other side writes into its line, lengths are
// clamped to the private capacity and indices masked by it.
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

/// What a reader sees at one moment: [begin, end) without the hole, of `epoch`, at most `capacity`
/// long.
struct Readable {
    Position begin = 0;
    Position end = 0;
    Position hole_begin = 0;
    Position hole_end = 0;
    std::uint32_t epoch = 0;
    bool fault = false;
};

inline Readable look(const RingWriterLine& theirs, Position capacity) noexcept {
    Readable r;
    // In this order: audio up to `end` belongs to `epoch` or earlier ones, and a begin_valid read
    // after `epoch` voids those earlier ones.
    r.end = theirs.end.load(std::memory_order_acquire);
    r.hole_end = theirs.hole_end.load(std::memory_order_acquire);
    r.hole_begin = theirs.hole_begin.load(std::memory_order_relaxed);
    r.epoch = theirs.epoch.load(std::memory_order_acquire);
    r.begin = theirs.begin_valid.load(std::memory_order_acquire);
    if (!is_sane(r.end) || !is_sane(r.begin) || !is_sane(r.hole_begin) || !is_sane(r.hole_end)) {
        r.fault = true;
        r.begin = r.end = r.hole_begin = r.hole_end = 0;
        return r;
    }
    r.begin = std::max(r.begin, r.end - capacity);
    return r;
}

/// The writer's half. `end` and `begin_valid` are private truth, shared memory gets copies.
struct RingWriter {
    Lanes lanes;
    RingWriterLine* mine = nullptr;
    const RingReaderLine* theirs = nullptr;
    Position end = 0;
    Position begin_valid = 0;
    Position hole_begin = 0, hole_end = 0;

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
    /// A new writer goes on at `position`, where the former one ended, and knows what that one
    /// published (a begin beyond the end would be nonsense: then nothing is kept).
    void resume(Position position) noexcept {
        const Readable former = look(*mine, lanes.capacity);
        end = position;
        begin_valid = std::min(former.begin, position);
        hole_begin = former.hole_begin;
        hole_end = std::min(former.hole_end, position);
    }
    /// Moves on without audio: there is none between `end` and `position`.
    void leave_hole(Position position) noexcept {
        const Position passed = done();
        if (end <= passed || position < end) return skip_to(position);
        if (hole_end <= passed) hole_begin = end;
        hole_end = position;
        end = position;
        // look() reads in the opposite order: who sees a new end sees the hole, and who sees its
        // new end sees its beginning.
        mine->hole_begin.store(hole_begin, std::memory_order_relaxed);
        mine->hole_end.store(hole_end, std::memory_order_release);
        publish();
    }
};

}  // namespace stembridge
