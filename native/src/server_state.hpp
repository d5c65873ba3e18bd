// What the server's end of a link holds. Private to the server_*.cpp files.
#pragma once

#include "link_end.hpp"

namespace stembridge {

struct ServerLink::State : LinkEnd {
    Lanes input;
    std::atomic<Position> read_position{0};    // set by the reading thread
    Position lost = 0;                         // reading thread: not yet told
    std::atomic<std::uint32_t> read_epoch{0};  // set by the reading thread
    RingWriter output;                         // writing thread
    std::atomic<bool> interrupted{false};

    Readable look_input() const noexcept {
        return look(header->input_writer, geometry.input_capacity);
    }

    /// After a step of the reader: the plugin may wait for room, or for what will never come.
    void wake_plugin(Position done, Position restart) noexcept {
        BellLine& bell = header->plugin_bell;
        const bool room = take_waiter(bell.wanted_room, done);
        const bool hopeless =
            header->input_reader.restart.load(std::memory_order_relaxed) == restart &&
            take_waiter(bell.wanted, restart);
        if (room || hopeless) plugin_bell->wake();
    }

    bool has_input(Position wanted) noexcept {
        if (interrupted.exchange(false)) return true;
        if (header->plugin.state.load(std::memory_order_acquire) !=
            static_cast<std::uint32_t>(EndState::attached)) {
            return true;  // the plugin left
        }
        const Readable r = look_input();
        return r.end >= wanted || (r.epoch != read_epoch && r.end > r.begin);
    }
};

/// Throws LinkError: the link holds what no plugin writes.
[[noreturn]] void corrupt(const std::string& name, const std::string& what);

}  // namespace stembridge
