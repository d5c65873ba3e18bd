// The plugin's end of the link. It owns the shared-memory object: creates, names and unlinks it.
#include <cmath>
#include <cstring>

#include "link_end.hpp"

namespace stembridge {

struct PluginLink::State : LinkEnd {
    LinkFormat format;
    RingWriter input;  // audio thread
    Lanes output;      // audio thread
    std::uint32_t epoch = 0;

    void publish_format() noexcept {
        FormatLine& line = header->format;
        std::uint64_t bits = 0;
        std::memcpy(&bits, &format.sample_rate_hz, sizeof(bits));
        line.sample_rate_bits.store(bits, std::memory_order_relaxed);
        line.latency_samples.store(format.latency_samples, std::memory_order_relaxed);
        line.max_block_samples.store(static_cast<std::uint32_t>(format.max_block_samples),
                                     std::memory_order_relaxed);
        line.fade_samples.store(static_cast<std::uint32_t>(format.fade_samples),
                                std::memory_order_relaxed);
    }
};

namespace {

void check_format(const LinkFormat& format) {
    if (!std::isfinite(format.sample_rate_hz) || format.sample_rate_hz < 1000.0 ||
        format.sample_rate_hz > 1e6) {
        throw LinkError("a link cannot run at " + std::to_string(format.sample_rate_hz) +
                        " Hz; use a sample rate between 1 kHz and 1 MHz");
    }
    if (format.channels < 1 || format.channels > kMaxChannels) {
        throw LinkError("a link carries 1 to " + std::to_string(kMaxChannels) + " channels, not " +
                        std::to_string(format.channels));
    }
    if (format.max_block_samples < 1 || format.latency_samples < 0 || format.fade_samples < 0) {
        throw LinkError(
            "a link needs a largest block of at least 1 sample and a latency and fade "
            "of at least 0");
    }
}

}  // namespace

std::unique_ptr<PluginLink> PluginLink::create(const LinkFormat& format,
                                               const LinkCapacity& capacity) {
    check_format(format);
    if (capacity.input_samples < 1 || capacity.input_samples > kMaxCapacity ||
        capacity.output_samples < 1 || capacity.output_samples > kMaxCapacity) {
        throw LinkError("a link holds 1 to " + std::to_string(kMaxCapacity) +
                        " samples each way; use a shorter latency");
    }
    const Geometry g = make_geometry(format.channels, power_of_two_at_least(capacity.input_samples),
                                     power_of_two_at_least(capacity.output_samples));
    auto memory = SharedMemory::create(g.total_bytes);  // may throw: before there is a link
    std::unique_ptr<PluginLink> link(new PluginLink());
    link->state_ = std::make_unique<State>();
    State& s = *link->state_;
    s.map(std::move(memory), g);
    s.format = format;
    SharedHeader& h = *s.header;
    h.protocol_version = kProtocolVersion;
    h.header_bytes = sizeof(SharedHeader);
    h.total_bytes = g.total_bytes;
    h.channels = static_cast<std::uint32_t>(g.channels);
    h.input_capacity = g.input_capacity;
    h.output_capacity = g.output_capacity;
    h.input_offset = g.input_offset;
    h.output_offset = g.output_offset;
    s.publish_format();
    h.server_bell.wanted.store(kNobody);
    h.server_bell.wanted_room.store(kNobody);
    h.plugin_bell.wanted.store(kNobody);
    h.plugin_bell.wanted_room.store(kNobody);
    h.plugin.pid.store(current_process_id());
    h.plugin.generation.store(1);
    h.plugin.state.store(static_cast<std::uint32_t>(EndState::attached));
    s.input.lanes = s.input_lanes();
    s.input.mine = &h.input_writer;
    s.input.theirs = &h.input_reader;
    s.output = s.output_lanes();
    h.magic.store(kMagic, std::memory_order_release);
    return link;
}

PluginLink::~PluginLink() {
    if (!state_) return;
    state_->header->plugin.state.store(static_cast<std::uint32_t>(EndState::left),
                                       std::memory_order_release);
    state_->server_bell->wake();  // so that a sleeping server notices now
    state_->memory->unlink();
}

const std::string& PluginLink::name() const noexcept {
    return state_->memory->name();
}
const LinkFormat& PluginLink::format() const noexcept {
    return state_->format;
}
LinkCapacity PluginLink::capacity() const noexcept {
    return {state_->geometry.input_capacity, state_->geometry.output_capacity};
}

std::int64_t PluginLink::position() const noexcept {
    return state_->input.end;
}

std::uint32_t PluginLink::begin_epoch() noexcept {
    State& s = *state_;
    s.input.begin_valid = s.input.end;
    s.input.mine->begin_valid.store(s.input.begin_valid, std::memory_order_relaxed);
    s.input.mine->epoch.store(++s.epoch, std::memory_order_release);
    return s.epoch;
}

std::uint32_t PluginLink::begin_epoch(const LinkFormat& format) {
    check_format(format);
    if (format.channels != state_->geometry.channels) {
        throw LinkError("a link keeps its number of channels; make a new one for " +
                        std::to_string(format.channels));
    }
    state_->format = format;
    state_->publish_format();
    return begin_epoch();
}

void PluginLink::set_latency_samples(std::int64_t samples) noexcept {
    state_->format.latency_samples = samples;
    state_->header->format.latency_samples.store(samples, std::memory_order_relaxed);
}

void PluginLink::set_flags(bool bypassed, bool offline) noexcept {
    const std::uint32_t flags = (bypassed ? kBypassed : 0u) | (offline ? kOffline : 0u);
    state_->header->format.flags.store(flags, std::memory_order_relaxed);
}

bool PluginLink::write(const float* const* channels, std::int64_t samples) noexcept {
    State& s = *state_;
    if (samples <= 0) return true;
    if (samples > s.input.room()) {
        s.input.skip_to(s.input.end + samples);
        return false;
    }
    for (int c = 0; c < s.geometry.channels; ++c) {
        s.input.lanes.put(c, s.input.end, channels[c], samples);
    }
    s.input.end += samples;
    s.input.publish();
    return true;
}

std::int64_t PluginLink::room() const noexcept {
    return state_->input.room();
}

PluginLink::Ready PluginLink::ready() const noexcept {
    const State& s = *state_;
    const Readable r = look(s.header->output_writer, s.geometry.output_capacity);
    if (r.end > s.input.end) return {0, 0, 0, 0, true};  // the answer to what was not yet asked
    return {r.begin, r.end, r.hole_begin, r.hole_end, r.fault};
}

std::int64_t PluginLink::void_before() const noexcept {
    const State& s = *state_;
    const Position restart = s.header->input_reader.restart.load(std::memory_order_acquire);
    return std::max(s.input.begin_valid, restart <= s.input.end ? restart : 0);
}

void PluginLink::copy(std::int64_t position, std::int64_t samples, float* const* target,
                      float* const* output, float* share) const noexcept {
    const State& s = *state_;
    if (samples <= 0 || samples > s.geometry.output_capacity) return;
    const int channels = s.geometry.channels;
    for (int c = 0; target != nullptr && c < channels; ++c) {
        s.output.get(c, position, target[c], samples);
    }
    for (int c = 0; output != nullptr && c < channels; ++c) {
        s.output.get(channels + c, position, output[c], samples);
    }
    if (share != nullptr) s.output.get(2 * channels, position, share, samples);
}

void PluginLink::release(std::int64_t position) noexcept {
    state_->header->output_reader.done.store(std::max<Position>(position, 0),
                                             std::memory_order_release);
}

bool PluginLink::ring() noexcept {
    State& s = *state_;
    std::atomic_thread_fence(std::memory_order_seq_cst);  // see sleep_until()
    if (!take_waiter(s.header->server_bell.wanted, s.input.end)) return false;
    s.server_bell->wake();
    return true;
}

bool PluginLink::wait_output(std::int64_t position, double timeout_seconds) noexcept {
    State& s = *state_;
    auto& wanted = s.header->plugin_bell.wanted;
    return sleep_until(
        *s.plugin_bell, timeout_seconds,
        [&] { return ready().end >= position || void_before() >= position; },
        [&](bool on) { wanted.store(on ? position : kNobody, std::memory_order_relaxed); });
}

bool PluginLink::wait_room(std::int64_t samples, double timeout_seconds) noexcept {
    State& s = *state_;
    auto& wanted = s.header->plugin_bell.wanted_room;
    const Position until = s.input.end + samples - s.geometry.input_capacity;
    return sleep_until(
        *s.plugin_bell, timeout_seconds, [&] { return room() >= samples; },
        [&](bool on) { wanted.store(on ? until : kNobody, std::memory_order_relaxed); });
}

bool PluginLink::server_attached() const noexcept {
    return state_->header->server.state.load(std::memory_order_acquire) ==
           static_cast<std::uint32_t>(EndState::attached);
}

std::uint32_t PluginLink::server_generation() const noexcept {
    return state_->header->server.generation.load(std::memory_order_acquire);
}

std::int64_t PluginLink::chain_latency_samples() const noexcept {
    return state_->header->server.chain_latency_samples.load(std::memory_order_relaxed);
}

std::int64_t PluginLink::needed_latency_samples() const noexcept {
    return state_->header->server.needed_latency_samples.load(std::memory_order_relaxed);
}

PeerState PluginLink::server_state() noexcept {
    return state_->peer_state(End::server);
}
bool PluginLink::server_dead() const noexcept {
    return state_->is_dead(End::server);
}
std::int64_t PluginLink::server_pid() const noexcept {
    return state_->header->server.pid.load(std::memory_order_relaxed);
}
void PluginLink::beat() noexcept {
    state_->beat(End::plugin);
}

}  // namespace stembridge
