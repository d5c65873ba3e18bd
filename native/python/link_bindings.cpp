// Both ends of the link for Python. Each wrapper holds its end by a shared pointer that a running
// call keeps, so close() from another thread never pulls memory from under it.
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "bindings.hpp"
#include "stembridge/link.hpp"

namespace stembridge::python {
namespace {

using namespace py::literals;

template <class End>
struct Holder {
    std::shared_ptr<End> end;

    std::shared_ptr<End> get() const {
        if (!end) throw LinkError("this end of the link is closed; open it again by its name");
        return end;
    }
    void close() {
        std::shared_ptr<End> last;
        last.swap(end);
        py::gil_scoped_release release;
        last.reset();
    }
};
using Plugin = Holder<stembridge::PluginLink>;
using Server = Holder<stembridge::ServerLink>;

struct Span {
    std::int64_t position, lost_samples;
    std::uint32_t epoch;
    AudioView audio;
};

Span read_span(const Server& self, std::int64_t max_samples) {
    const auto end = self.get();
    const int channels = end->channels();
    const auto samples = std::clamp<std::int64_t>(max_samples, 0, end->available());
    AudioView audio = make_audio(channels, samples);
    Pointers p = pointers_of(audio);
    stembridge::ServerLink::Span span;
    {
        py::gil_scoped_release release;
        span = end->read(p.data(), samples);
    }
    if (span.samples < samples) {  // the epoch changed in between
        audio = audio[py::make_tuple(py::slice(std::nullopt, std::nullopt, std::nullopt),
                                     py::slice(0, span.samples, 1))]
                    .cast<AudioView>();
    }
    return {span.position, span.lost_samples, span.epoch, audio};
}

std::int64_t write_output(const Server& self, std::int64_t position, const Audio& target,
                          const std::optional<Audio>& output, const py::object& share) {
    const auto end = self.get();
    const int channels = end->channels();
    check_shape(target, channels, "target");
    const py::ssize_t samples = target.shape(1);
    ConstPointers out{};
    if (output) {
        check_shape(*output, channels, "output");
        if (output->shape(1) != samples) {
            throw py::value_error("target and output must have the same number of samples");
        }
        out = pointers_of(*output);
    }
    float constant = 0.0f;
    std::optional<Audio> lane;
    if (py::isinstance<py::array>(share) && py::cast<py::array>(share).ndim() == 1) {
        lane = share.cast<Audio>();
        if (lane->shape(0) != samples) {
            throw py::value_error("share must be one number, or one for each sample");
        }
    } else {
        constant = share.cast<float>();
    }
    const ConstPointers in = pointers_of(target);
    py::gil_scoped_release release;
    return end->write(position, samples, in.data(), output ? out.data() : nullptr,
                      lane ? lane->data() : nullptr, constant);
}

std::vector<int> wait_any_link(const std::vector<const Server*>& links,
                               const std::vector<std::int64_t>& positions, double seconds) {
    if (links.size() != positions.size()) {
        throw py::value_error("wait_any needs one position for each link");
    }
    std::vector<std::shared_ptr<stembridge::ServerLink>> held;
    std::vector<stembridge::ServerLink*> ends;
    for (const Server* link : links) {
        held.push_back(link->get());
        ends.push_back(held.back().get());
    }
    std::vector<int> ready;
    {
        py::gil_scoped_release release;
        ready = stembridge::wait_any(ends, positions, seconds);
        held.clear();
    }
    return ready;
}

}  // namespace

void bind_links(py::module_& m) {
    py::class_<LinkFormat>(m, "LinkFormat")
        .def_readonly("sample_rate_hz", &LinkFormat::sample_rate_hz)
        .def_readonly("channels", &LinkFormat::channels)
        .def_readonly("max_block_samples", &LinkFormat::max_block_samples)
        .def_readonly("latency_samples", &LinkFormat::latency_samples)
        .def_readonly("fade_samples", &LinkFormat::fade_samples);

    py::class_<Span>(m, "Span")
        .def_readonly("position", &Span::position)
        .def_readonly("lost_samples", &Span::lost_samples)
        .def_readonly("epoch", &Span::epoch)
        .def_readonly("audio", &Span::audio);

    py::class_<Plugin>(m, "PluginLink")
        .def_property_readonly("name", [](const Plugin& p) { return p.get()->name(); })
        .def_property_readonly("format", [](const Plugin& p) { return p.get()->format(); })
        .def_property_readonly("capacity_samples",
                               [](const Plugin& p) {
                                   const auto c = p.get()->capacity();
                                   return py::make_tuple(c.input_samples, c.output_samples);
                               })
        .def_property_readonly("position", [](const Plugin& p) { return p.get()->position(); })
        .def_property_readonly("room_samples", [](const Plugin& p) { return p.get()->room(); })
        .def(
            "write",
            [](const Plugin& p, const Audio& audio) {
                const auto end = p.get();
                check_shape(audio, end->format().channels, "audio");
                const ConstPointers in = pointers_of(audio);
                py::gil_scoped_release release;
                const bool whole = end->write(in.data(), audio.shape(1));
                end->ring();
                return whole;
            },
            "audio"_a)
        .def("begin_epoch", [](const Plugin& p) { return p.get()->begin_epoch(); })
        .def("ready",
             [](const Plugin& p) {
                 const auto r = p.get()->ready();
                 return py::make_tuple(r.begin, r.end, r.fault);
             })
        .def(
            "read",
            [](const Plugin& p, std::int64_t position, std::int64_t samples) {
                const auto end = p.get();
                const auto ready = end->ready().around(position, 0);
                if (samples < 0 || position < ready.begin || position + samples > ready.end) {
                    throw py::index_error("output of these positions is not here");
                }
                const int channels = end->format().channels;
                AudioView target = make_audio(channels, samples);
                AudioView output = make_audio(channels, samples);
                py::array_t<float> share(samples);
                const Pointers t = pointers_of(target), o = pointers_of(output);
                end->copy(position, samples, t.data(), o.data(), share.mutable_data());
                return py::make_tuple(target, output, share);
            },
            "position"_a, "samples"_a)
        .def(
            "release", [](const Plugin& p, std::int64_t at) { p.get()->release(at); }, "position"_a)
        .def(
            "wait_output",
            [](const Plugin& p, std::int64_t position, double seconds) {
                const auto end = p.get();
                py::gil_scoped_release release;
                return end->wait_output(position, seconds);
            },
            "position"_a, "timeout_seconds"_a)
        .def_property_readonly("server_attached",
                               [](const Plugin& p) { return p.get()->server_attached(); })
        .def_property_readonly(
            "server_state",
            [](const Plugin& p) { return stembridge::to_string(p.get()->server_state()); })
        .def_property_readonly("server_pid", [](const Plugin& p) { return p.get()->server_pid(); })
        .def_property_readonly("server_generation",
                               [](const Plugin& p) { return p.get()->server_generation(); })
        .def_property_readonly("needed_latency_samples",
                               [](const Plugin& p) { return p.get()->needed_latency_samples(); })
        .def("beat", [](const Plugin& p) { p.get()->beat(); })
        .def("close", &Plugin::close)
        .def("__enter__", [](py::object self) { return self; })
        .def("__exit__", [](Plugin& p, const py::args&) { p.close(); });

    py::class_<Server>(m, "ServerLink")
        .def_property_readonly("name", [](const Server& s) { return s.get()->name(); })
        .def_property_readonly("format", [](const Server& s) { return s.get()->format(); })
        .def_property_readonly("channels", [](const Server& s) { return s.get()->channels(); })
        .def_property_readonly("capacity_samples",
                               [](const Server& s) {
                                   const auto c = s.get()->capacity();
                                   return py::make_tuple(c.input_samples, c.output_samples);
                               })
        .def("read", &read_span, "max_samples"_a)
        .def_property_readonly("available_samples",
                               [](const Server& s) { return s.get()->available(); })
        .def_property_readonly("position", [](const Server& s) { return s.get()->position(); })
        .def_property_readonly("play_position",
                               [](const Server& s) { return s.get()->play_position(); })
        .def(
            "skip_to", [](const Server& s, std::int64_t at) { s.get()->skip_to(at); }, "position"_a)
        .def("write", &write_output, "position"_a, "target"_a, "output"_a = py::none(),
             "share"_a = 0.0f)
        .def(
            "wait_input",
            [](const Server& s, std::int64_t position, double seconds) {
                const auto end = s.get();
                py::gil_scoped_release release;
                return end->wait_input(position, seconds);
            },
            "position"_a, "timeout_seconds"_a)
        .def("interrupt", [](const Server& s) { s.get()->interrupt(); })
        .def(
            "publish_latency",
            [](const Server& s, std::int64_t chain, std::int64_t needed) {
                s.get()->publish_latency(chain, needed);
            },
            "chain_samples"_a, "needed_samples"_a)
        .def_property_readonly("epoch", [](const Server& s) { return s.get()->epoch(); })
        .def_property_readonly("bypassed", [](const Server& s) { return s.get()->bypassed(); })
        .def_property_readonly("offline", [](const Server& s) { return s.get()->offline(); })
        .def_property_readonly(
            "plugin_state",
            [](const Server& s) { return stembridge::to_string(s.get()->plugin_state()); })
        .def_property_readonly("plugin_pid", [](const Server& s) { return s.get()->plugin_pid(); })
        .def("beat", [](const Server& s) { s.get()->beat(); })
        .def("check", [](const Server& s) { s.get()->check(); })
        .def("close",
             [](Server& s) {
                 if (s.end) s.end->interrupt();
                 s.close();
             })
        .def("__enter__", [](py::object self) { return self; })
        .def("__exit__", [](Server& s, const py::args&) {
            if (s.end) s.end->interrupt();
            s.close();
        });

    struct Link {};
    py::class_<Link>(m, "Link")
        .def_static(
            "plugin_end",
            [](double rate, int channels, int max_block, std::int64_t latency, int fade,
               std::optional<std::int64_t> input, std::optional<std::int64_t> output) {
                const LinkFormat format{rate, channels, max_block, latency, fade};
                const std::int64_t room = std::max<std::int64_t>(65536, 4ll * max_block);
                py::gil_scoped_release release;
                return Plugin{stembridge::PluginLink::create(
                    format, {input.value_or(room), output.value_or(room + latency)})};
            },
            "sample_rate_hz"_a, "channels"_a, "max_block_samples"_a = 8192, "latency_samples"_a = 0,
            "fade_samples"_a = 0, "input_capacity_samples"_a = py::none(),
            "output_capacity_samples"_a = py::none())
        .def_static(
            "server_end",
            [](const std::string& name) {
                py::gil_scoped_release release;
                return Server{stembridge::ServerLink::open(name)};
            },
            "name"_a);

    m.def("wait_any", &wait_any_link, "links"_a, "positions"_a, "timeout_seconds"_a);
    m.def("sweep_stale", &stembridge::sweep_stale, py::call_guard<py::gil_scoped_release>());
}

}  // namespace stembridge::python
