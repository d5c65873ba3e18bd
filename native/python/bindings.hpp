// What the bindings share: numpy arrays as channel pointers, and the parts of the module.
//
// Audio is numpy float32 (channels, samples), C-contiguous. The GIL is released while something
// waits or processes, so that one Python process can drive both ends from two threads.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <array>
#include <string>
#include <vector>

namespace stembridge::python {

namespace py = pybind11;

void bind_links(py::module_& m);
void bind_core(py::module_& m);

using Audio = py::array_t<float, py::array::c_style | py::array::forcecast>;
using AudioView = py::array_t<float, py::array::c_style>;
constexpr int kMaxChannels = 8;
using Pointers = std::array<float*, kMaxChannels>;
using ConstPointers = std::array<const float*, kMaxChannels>;

inline AudioView make_audio(int channels, py::ssize_t samples) {
    return AudioView(std::vector<py::ssize_t>{channels, samples});
}

inline void check_shape(const py::array& audio, int channels, const char* what) {
    if (audio.ndim() != 2 || (channels > 0 && audio.shape(0) != channels) || audio.shape(0) < 1 ||
        audio.shape(0) > kMaxChannels) {
        const std::string wanted = channels > 0 ? std::to_string(channels) : "1 to 8";
        throw py::value_error(std::string(what) + " must be float32 of shape (" + wanted +
                              ", samples)");
    }
}

inline ConstPointers pointers_of(const Audio& audio) {
    ConstPointers p{};
    for (py::ssize_t c = 0; c < audio.shape(0); ++c) {
        p[static_cast<std::size_t>(c)] = audio.data() + c * audio.shape(1);
    }
    return p;
}

inline Pointers pointers_of(AudioView& audio) {
    Pointers p{};
    for (py::ssize_t c = 0; c < audio.shape(0); ++c) {
        p[static_cast<std::size_t>(c)] = audio.mutable_data() + c * audio.shape(1);
    }
    return p;
}

}  // namespace stembridge::python
