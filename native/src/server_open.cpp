// Opening and leaving the server's end of a link. Nothing in shared memory is trusted: the header
// is validated once, here, and sizes are kept privately from then on.
#include "server_state.hpp"

namespace stembridge {

void corrupt(const std::string& name, const std::string& what) {
    throw LinkError("link " + name + " is corrupt (" + what +
                    "); reload the plugin so that it makes a new one");
}

namespace {

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

}  // namespace stembridge
