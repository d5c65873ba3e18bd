// The plugin's real-time core for Python: tests drive it block by block, as a host would.
#include <pybind11/stl.h>

#include <optional>

#include "bindings.hpp"
#include "stembridge/realtime_core.hpp"

namespace stembridge::python {
namespace {

using namespace py::literals;

AudioView process(stembridge::RealtimeCore& core, const Audio& audio, bool offline_wait,
                  std::optional<AudioView> target, std::optional<AudioView> remainder) {
    check_shape(audio, 0, "audio");
    const int channels = static_cast<int>(audio.shape(0));
    const auto samples = static_cast<int>(audio.shape(1));
    AudioView out = make_audio(channels, samples);
    stembridge::ProcessTaps taps;
    Pointers target_pointers{}, remainder_pointers{};
    const auto tap = [&](std::optional<AudioView>& view, Pointers& p, const char* name) {
        if (!view) return static_cast<float* const*>(nullptr);
        check_shape(*view, channels, name);
        if (view->shape(1) != samples) {
            throw py::value_error(std::string(name) + " must have as many samples as audio");
        }
        p = pointers_of(*view);
        return static_cast<float* const*>(p.data());
    };
    taps.target = tap(target, target_pointers, "target");
    taps.remainder = tap(remainder, remainder_pointers, "remainder");
    const ConstPointers in = pointers_of(audio);
    const Pointers results = pointers_of(out);
    py::gil_scoped_release release;
    core.process(in.data(), results.data(), channels, samples, offline_wait, taps);
    return out;
}

py::dict status_dict(const stembridge::RealtimeCore& core) {
    const CoreStatus s = core.status();
    return py::dict(
        "state"_a = stembridge::to_string(s.state), "latency_samples"_a = s.latency_samples,
        "needed_latency_samples"_a = s.needed_latency_samples, "blocks"_a = s.blocks,
        "samples"_a = s.samples, "missed_blocks"_a = s.missed_blocks,
        "missed_samples"_a = s.missed_samples, "overflowed_samples"_a = s.overflowed_samples,
        "waits"_a = s.waits, "timeouts"_a = s.timeouts, "sanitised_samples"_a = s.sanitised_samples,
        "faults"_a = s.faults, "wakes"_a = s.wakes, "input_peak"_a = s.input_peak,
        "target_peak"_a = s.target_peak, "remainder_peak"_a = s.remainder_peak,
        "output_peak"_a = s.output_peak, "wet_share"_a = s.wet_share);
}

}  // namespace

void bind_core(py::module_& m) {
    py::class_<stembridge::RealtimeCore>(m, "RealtimeCore")
        .def(py::init<>())
        .def(
            "prepare",
            [](stembridge::RealtimeCore& core, double rate, int channels, int max_block,
               std::int64_t latency, std::int64_t max_latency, double fade) {
                CoreConfig config{rate, channels, max_block, latency, max_latency, fade};
                py::gil_scoped_release release;
                core.prepare(config);
            },
            "sample_rate_hz"_a, "channels"_a, "max_block_samples"_a, "latency_samples"_a,
            "max_latency_samples"_a = 0, "fade_seconds"_a = 0.005)
        .def("reset", &stembridge::RealtimeCore::reset)
        .def("process", &process, "audio"_a, "offline_wait"_a = false, "target"_a = py::none(),
             "remainder"_a = py::none())
        .def("set_target_gain", &stembridge::RealtimeCore::set_target_gain, "linear"_a)
        .def("set_remainder_gain", &stembridge::RealtimeCore::set_remainder_gain, "linear"_a)
        .def("set_bypass", &stembridge::RealtimeCore::set_bypass, "on"_a)
        .def("set_latency_samples", &stembridge::RealtimeCore::set_latency_samples, "samples"_a)
        .def("set_offline_timeout_seconds", &stembridge::RealtimeCore::set_offline_timeout_seconds,
             "seconds"_a)
        .def_property_readonly("latency_samples", &stembridge::RealtimeCore::latency_samples)
        .def_property_readonly("attached", &stembridge::RealtimeCore::attached)
        .def_property_readonly("link_name", &stembridge::RealtimeCore::link_name)
        .def("status", &status_dict)
        .def("housekeeping", &stembridge::RealtimeCore::housekeeping,
             py::call_guard<py::gil_scoped_release>())
        .def("detach", &stembridge::RealtimeCore::detach, py::call_guard<py::gil_scoped_release>());
}

}  // namespace stembridge::python
