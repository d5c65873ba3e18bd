// The server's end of the link at work: input is read, output written, latency and beats told. It
// trusts nothing: sizes are its own (server_open.cpp), positions are looked at before each use.
#include <cmath>
#include <cstring>

#include "server_state.hpp"

namespace stembridge {

const std::string& ServerLink::name() const noexcept {
    return state_->memory->name();
}

int ServerLink::channels() const noexcept {
    return state_->geometry.channels;
}

LinkCapacity ServerLink::capacity() const noexcept {
    return {state_->geometry.input_capacity, state_->geometry.output_capacity};
}

LinkFormat ServerLink::format() const {
    const State& s = *state_;
    LinkFormat format;
    // Written before the epoch's number: the same number before and after means one piece.
    for (int attempt = 0; attempt < 100; ++attempt) {
        const std::uint32_t before = epoch();
        const FormatLine& line = s.header->format;
        const std::uint64_t bits = line.sample_rate_bits.load(std::memory_order_relaxed);
        std::memcpy(&format.sample_rate_hz, &bits, sizeof(bits));
        format.latency_samples = line.latency_samples.load(std::memory_order_relaxed);
        format.max_block_samples =
            static_cast<int>(line.max_block_samples.load(std::memory_order_relaxed) & 0x7fffffffu);
        format.fade_samples =
            static_cast<int>(line.fade_samples.load(std::memory_order_relaxed) & 0x7fffffffu);
        format.channels = s.geometry.channels;
        std::atomic_thread_fence(std::memory_order_acquire);
        if (epoch() == before) break;
    }
    if (!std::isfinite(format.sample_rate_hz) || format.sample_rate_hz < 1000.0 ||
        format.sample_rate_hz > 1e6 || format.max_block_samples < 1 || format.latency_samples < 0 ||
        format.latency_samples > kMaxCapacity || format.fade_samples > kMaxCapacity) {
        corrupt(name(), "impossible sample rate, block or latency");
    }
    return format;
}

ServerLink::Span ServerLink::read(float* const* channels, std::int64_t max_samples) noexcept {
    State& s = *state_;
    s.beat(End::server);
    const Readable r = s.look_input();
    Span span;
    span.epoch = s.read_epoch;
    span.position = s.read_position;
    if (r.fault) return span;
    Position from = s.read_position;
    if (r.end < from) from = std::max<Position>(r.begin, 0);  // was corrupt: start over
    const Position begin = std::max(r.begin, from);
    const Position samples =
        std::clamp<Position>(std::min(r.end - begin, max_samples), 0, s.geometry.input_capacity);
    for (int c = 0; samples > 0 && c < s.geometry.channels; ++c) {
        s.input.get(c, begin, channels[c], samples);
    }
    s.lost += begin - from;
    if (begin != from || (samples > 0 && r.epoch != s.read_epoch)) {
        s.header->input_reader.restart.store(begin, std::memory_order_release);
    }
    // Moving past void input without reading makes room too: a full ring heals this way.
    s.read_position = begin + samples;
    s.header->input_reader.done.store(begin + samples, std::memory_order_release);
    std::atomic_thread_fence(std::memory_order_seq_cst);  // see sleep_until()
    s.wake_plugin(begin + samples, begin);
    span.position = begin;
    span.samples = samples;
    if (samples > 0) {
        span.epoch = r.epoch;
        span.lost_samples = s.lost;
        s.read_epoch = r.epoch;
        s.lost = 0;
    }
    return span;
}

std::int64_t ServerLink::available() const noexcept {
    const Readable r = state_->look_input();
    return std::max<Position>(0, r.end - std::max(r.begin, state_->read_position.load()));
}

std::int64_t ServerLink::position() const noexcept {
    return state_->read_position;
}

void ServerLink::skip_to(std::int64_t position) noexcept {
    State& s = *state_;
    const Readable r = s.look_input();
    const Position target = std::min(position, r.end);
    if (r.fault || target <= s.read_position) return;
    s.read_position = target;
    s.header->input_reader.restart.store(target, std::memory_order_release);
    s.header->input_reader.done.store(target, std::memory_order_release);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    s.wake_plugin(target, target);
}

std::int64_t ServerLink::play_position() const noexcept {
    const Position p = state_->header->output_reader.done.load(std::memory_order_acquire);
    return is_sane(p) ? p : 0;
}

std::int64_t ServerLink::write(std::int64_t position, std::int64_t samples,
                               const float* const* target, const float* const* output,
                               const float* share, float share_value) noexcept {
    State& s = *state_;
    RingWriter& ring = s.output;
    s.beat(End::server);
    if (samples <= 0 || !is_sane(position) || !is_sane(position + samples)) return 0;
    // Skip what was sent before, and what has been played already: it comes too late.
    const Position played = std::min(play_position(), position + samples);
    Position skip = std::clamp<Position>(std::max(ring.end, played) - position, 0, samples);
    const Position begin = position + skip;
    if (begin > ring.end) ring.leave_hole(begin);
    const Position take = std::min(samples - skip, ring.room());
    if (take <= 0) return skip;
    const int channels = s.geometry.channels;
    for (int c = 0; c < channels; ++c) {
        ring.lanes.put(c, begin, target[c] + skip, take);
        if (output != nullptr) {
            ring.lanes.put(channels + c, begin, output[c] + skip, take);
        } else {
            ring.lanes.fill(channels + c, begin, 0.0f, take);
        }
    }
    if (share != nullptr) {
        ring.lanes.put(2 * channels, begin, share + skip, take);
    } else {
        ring.lanes.fill(2 * channels, begin, share_value, take);
    }
    ring.end = begin + take;
    ring.publish();
    std::atomic_thread_fence(std::memory_order_seq_cst);  // see sleep_until()
    if (take_waiter(s.header->plugin_bell.wanted, ring.end)) s.plugin_bell->wake();
    return skip + take;
}

bool ServerLink::wait_input(std::int64_t position, double timeout_seconds) noexcept {
    State& s = *state_;
    s.beat(End::server);
    auto& wanted = s.header->server_bell.wanted;
    return sleep_until(
        *s.server_bell, timeout_seconds, [&] { return s.has_input(position); },
        [&](bool on) { wanted.store(on ? position : kNobody, std::memory_order_relaxed); });
}

void ServerLink::interrupt() noexcept {
    state_->interrupted.store(true);
    state_->server_bell->wake();
}

void ServerLink::publish_latency(std::int64_t chain_samples, std::int64_t needed_samples) noexcept {
    EndLine& line = state_->header->server;
    line.chain_latency_samples.store(chain_samples, std::memory_order_relaxed);
    line.needed_latency_samples.store(needed_samples, std::memory_order_relaxed);
}

std::uint32_t ServerLink::epoch() const noexcept {
    return state_->header->input_writer.epoch.load(std::memory_order_acquire);
}
bool ServerLink::bypassed() const noexcept {
    return (state_->header->format.flags.load(std::memory_order_relaxed) & kBypassed) != 0;
}
bool ServerLink::offline() const noexcept {
    return (state_->header->format.flags.load(std::memory_order_relaxed) & kOffline) != 0;
}
PeerState ServerLink::plugin_state() noexcept {
    return state_->peer_state(End::plugin);
}
std::int64_t ServerLink::plugin_pid() const noexcept {
    return state_->header->plugin.pid.load(std::memory_order_relaxed);
}
void ServerLink::beat() noexcept {
    state_->beat(End::server);
}

}  // namespace stembridge
