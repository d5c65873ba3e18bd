// stembridge._native: both ends of the link and the real-time core for Python, put together here.
#include "bindings.hpp"
#include "stembridge/latency.hpp"
#include "stembridge/link.hpp"

namespace py = pybind11;

PYBIND11_MODULE(_native, m) {
    using namespace py::literals;
    m.doc() = "The native shared-memory link and real-time core.";
    m.attr("PROTOCOL_VERSION") = stembridge::kProtocolVersion;

    py::register_exception_translator([](std::exception_ptr p) {
        try {
            if (p) std::rethrow_exception(p);
        } catch (const stembridge::LinkError& error) {
            const py::object type = py::module_::import("stembridge.errors").attr("LinkError");
            PyErr_SetString(type.ptr(), error.what());
        }
    });

    stembridge::python::bind_links(m);
    stembridge::python::bind_core(m);
    m.def("adaptation_samples", &stembridge::adaptation_samples, "step_samples"_a,
          "block_samples"_a = 0);
}
