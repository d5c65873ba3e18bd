// The vectorised loops of the core against the plainest arithmetic, over every kind of float.
#include <cmath>
#include <limits>
#include <vector>

#include "check.hpp"
#include "mixing.hpp"

using namespace stembridge;

int main() {
    testing::Random random(3);
    const float special[] = {0.0f,
                             -0.0f,
                             1.0f,
                             -1.0f,
                             std::numeric_limits<float>::infinity(),
                             -std::numeric_limits<float>::infinity(),
                             std::numeric_limits<float>::quiet_NaN(),
                             std::numeric_limits<float>::denorm_min(),
                             -std::numeric_limits<float>::denorm_min(),
                             std::numeric_limits<float>::min(),
                             std::numeric_limits<float>::max(),
                             -std::numeric_limits<float>::max()};
    for (int samples = 0; samples < 70; ++samples) {
        std::vector<float> in(static_cast<std::size_t>(samples)), out(in);
        for (float& x : in) x = random.below(3) == 0 ? special[random.below(12)] : random.audio();
        const Scan scan = sanitise(out.data(), in.data(), samples);
        float peak = 0.0f;
        int replaced = 0;
        for (std::size_t i = 0; i < in.size(); ++i) {
            const bool keep = std::isnormal(in[i]);
            CHECK(out[i] == (keep ? in[i] : 0.0f), "%g became %g", double(in[i]), double(out[i]));
            if (keep) peak = std::fmax(peak, std::fabs(in[i]));
            if (!keep && in[i] != 0.0f) ++replaced;
        }
        CHECK(from_bits(scan.peak_bits) == peak, "peak %g", double(peak));
        CHECK(scan.replaced == replaced, "%d replaced, not %d", int(scan.replaced), replaced);
    }
    for (int samples = 1; samples < 70; ++samples) {
        const auto n = static_cast<std::size_t>(samples);
        std::vector<float> dry(n), target(n), out(n);
        for (std::size_t i = 0; i < n; ++i) {
            dry[i] = random.audio();
            target[i] = random.audio();
        }
        mix_steady(out.data(), dry.data(), target.data(), 1.0f, 1.0f, samples);
        for (std::size_t i = 0; i < n; ++i) CHECK(out[i] == dry[i], "mix at 0/0 dB is not dry");
        mix_steady(out.data(), dry.data(), target.data(), 1.0f, 0.0f, samples);
        for (std::size_t i = 0; i < n; ++i) CHECK(out[i] == target[i], "solo is not the target");
        mix_steady(out.data(), dry.data(), target.data(), 0.0f, 1.0f, samples);
        for (std::size_t i = 0; i < n; ++i) {
            CHECK(out[i] == dry[i] - target[i], "remove is not the remainder");
        }
    }
    Ramp ramp;
    ramp.snap(0.25f);
    ramp.go(1.0f, 100);
    float values[64];
    float last = 0.25f;
    for (int block = 0; block < 3; ++block) {
        ramp.render(values, 64);
        for (const float v : values) {
            CHECK(v >= last && v - last < 0.0076f, "ramp jumps from %g to %g", double(last),
                  double(v));
            last = v;
        }
    }
    CHECK(last == 1.0f && !ramp.moving(), "the ramp ends at %g", double(last));
    std::printf("every loop agrees\n");
    return 0;
}
