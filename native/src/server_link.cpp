// The server's end of the link. It trusts nothing: the header is validated once, sizes are kept
// privately, positions are looked at before each use.
#include <cmath>
#include <cstring>

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

namespace {

[[noreturn]] void corrupt(const std::string& name, const std::string& what) {
    throw LinkError("link " + name + " is corrupt (" + what +
                    "); reload the plugin so that it makes a new one");
}

/// The other process may write at any moment: what is checked must be what is used.
template <class T>
T read_once(const T& shared) noexcept {
    return *static_cast<const volatile T*>(&shared);
}

/// Checks what never changes in a link's life. Returns the sizes to work with from now on.
Geometry validate(const SharedMemory& memory) {
    const std::string& name = memory.name();
    if (memory.bytes() < sizeof(SharedHeader)) corrupt(name, "too small for a header");
    const SharedHeader& h = *static_cast<const SharedHeader*>(memory.data());
    if (h.magic.load(std::memory_order_acquire) != kMagic) corrupt(name, "no Stembridge mark");
    const std::uint32_t version = read_once(h.protocol_version);
    if (version != kProtocolVersion) {
        throw LinkError("link " + name + " speaks protocol version " + std::to_string(version) +
                        ", this server speaks version " + std::to_string(kProtocolVersion) +
                        "; install plugin and server of the same Stembridge version "
                        "(stembridge plugin install)");
    }
    const std::uint32_t channels = read_once(h.channels);
    if (channels < 1 || channels > kMaxChannels) {
        corrupt(name, std::to_string(channels) + " channels");
    }
    const auto good = [](Position n) { return n >= 1 && n <= kMaxCapacity && (n & (n - 1)) == 0; };
    const Position input = read_once(h.input_capacity);
    const Position output = read_once(h.output_capacity);
    if (!good(input) || !good(output)) corrupt(name, "impossible capacity");
    const Geometry g = make_geometry(static_cast<int>(channels), input, output);
    if (h.header_bytes != sizeof(SharedHeader) || h.total_bytes != g.total_bytes ||
        h.input_offset != g.input_offset || h.output_offset != g.output_offset ||
        memory.bytes() < g.total_bytes) {
        corrupt(name, "sizes that do not fit together");
    }
    return g;
}

}  // namespace

std::unique_ptr<ServerLink> ServerLink::open(const std::string& name) {
    auto memory = SharedMemory::open(name);
    const Geometry g = validate(*memory);
    if (!memory->take_lock(End::server)) {
        const auto& h = *static_cast<const SharedHeader*>(memory->data());
        throw LinkError("link " + name + " is already served by process " +
                        std::to_string(h.server.pid.load()) +
                        "; one server per user is enough (stembridge serve --ensure)");
    }
    std::unique_ptr<ServerLink> link(new ServerLink());
    link->state_ = std::make_unique<State>();
    State& s = *link->state_;
    s.map(std::move(memory), g);
    SharedHeader& h = *s.header;
    if (s.is_dead(End::plugin) ||
        h.plugin.state.load() != static_cast<std::uint32_t>(EndState::attached)) {
        s.memory->unlink();
        link->state_.reset();
        throw LinkError("the plugin that made link " + name + " is gone; reload it");
    }
    s.input = s.input_lanes();
    s.output.lanes = s.output_lanes();
    s.output.mine = &h.output_writer;
    s.output.theirs = &h.output_reader;
    const Readable r = s.look_input();
    const Position played = h.output_reader.done.load(std::memory_order_acquire);
    const Position delivered = h.output_writer.end.load(std::memory_order_acquire);
    if (r.fault || !is_sane(played) || !is_sane(delivered)) corrupt(name, "impossible positions");
    // The oldest input whose output can still be heard. What a former server sent is played out;
    // the sample after it is left out, so that the plugin fades between the two.
    const Position after = delivered > played ? delivered + 1 : delivered;
    const Position start = std::min(std::max({r.begin, played, after}), std::max(r.begin, r.end));
    s.read_position = start;
    s.read_epoch = r.epoch;
    h.input_reader.restart.store(start, std::memory_order_release);
    h.input_reader.done.store(start, std::memory_order_release);
    s.output.resume(delivered);
    s.output.leave_hole(start);
    h.server_bell.wanted.store(kNobody);
    h.server.chain_latency_samples.store(0);
    h.server.needed_latency_samples.store(0);
    h.server.pid.store(current_process_id());
    h.server.generation.fetch_add(1, std::memory_order_release);
    h.server.state.store(static_cast<std::uint32_t>(EndState::attached), std::memory_order_release);
    s.plugin_bell->wake();
    return link;
}

ServerLink::~ServerLink() {
    if (!state_) return;
    State& s = *state_;
    const bool orphan = s.is_dead(End::plugin);
    s.header->server.state.store(static_cast<std::uint32_t>(EndState::left),
                                 std::memory_order_release);
    s.plugin_bell->wake();  // an offline wait ends now
    if (orphan) s.memory->unlink();
}

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

void ServerLink::check() const {
    const Geometry now = validate(*state_->memory);
    const Geometry& then = state_->geometry;
    if (now.channels != then.channels || now.input_capacity != then.input_capacity ||
        now.output_capacity != then.output_capacity) {
        corrupt(name(), "sizes that changed");
    }
    const SharedHeader& h = *state_->header;
    if (!is_sane(h.input_writer.end.load()) || !is_sane(h.input_writer.begin_valid.load()) ||
        !is_sane(h.output_reader.done.load())) {
        corrupt(name(), "impossible positions");
    }
}

std::vector<int> wait_any(const std::vector<ServerLink*>& links,
                          const std::vector<std::int64_t>& positions, double timeout_seconds) {
    using Clock = std::chrono::steady_clock;
    const auto start = Clock::now();
    const std::size_t count = std::min(links.size(), positions.size());
    std::vector<int> ready;
    std::vector<std::atomic<std::uint32_t>*> words(count);
    std::vector<std::uint32_t> seen(count);
    const auto collect = [&] {
        for (std::size_t i = 0; i < count; ++i) {
            if (links[i]->state_->has_input(positions[i])) ready.push_back(static_cast<int>(i));
        }
        return !ready.empty();
    };
    for (std::size_t i = 0; i < count; ++i) {
        words[i] = &links[i]->state_->header->server_bell.word;
        links[i]->state_->beat(End::server);
    }
    while (!collect()) {
        const double left =
            timeout_seconds - std::chrono::duration<double>(Clock::now() - start).count();
        if (!(left > 0.0)) break;
        for (std::size_t i = 0; i < count; ++i) {
            seen[i] = words[i]->load(std::memory_order_acquire);
            links[i]->state_->header->server_bell.wanted.store(positions[i],
                                                               std::memory_order_relaxed);
        }
        std::atomic_thread_fence(std::memory_order_seq_cst);
        const bool found = collect();
        if (!found) {
            wait_for_any(words.data(), seen.data(), static_cast<int>(count), std::min(left, 0.25));
        }
        for (std::size_t i = 0; i < count; ++i) {
            links[i]->state_->header->server_bell.wanted.store(kNobody, std::memory_order_relaxed);
        }
        if (found) break;
    }
    return ready;
}

int sweep_stale() noexcept {
    int removed = 0;
    try {
        SharedMemory::for_each([&](SharedMemory& memory, double age_seconds) {
            if (memory.lock_held(End::plugin) != SharedMemory::Held::no) return;
            // Between creation and the first lock an object is unlocked and without its mark.
            const bool marked =
                memory.bytes() >= sizeof(SharedHeader) &&
                static_cast<const SharedHeader*>(memory.data())->magic.load() == kMagic;
            if (!marked && age_seconds < 10.0) return;
            memory.unlink();
            ++removed;
        });
    } catch (...) {  // out of memory while listing: sweep another time
    }
    return removed;
}

const char* to_string(PeerState state) noexcept {
    switch (state) {
        case PeerState::never:
            return "never";
        case PeerState::alive:
            return "alive";
        case PeerState::stalled:
            return "stalled";
        case PeerState::left:
            return "left";
        case PeerState::dead:
            return "dead";
    }
    return "unknown";
}

}  // namespace stembridge
