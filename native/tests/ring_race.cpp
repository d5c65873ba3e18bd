// Both ends of a link in one process, as fast as they can, for ThreadSanitizer: the audio thread
// (process, reset), the server's reader-writer, a background thread (housekeeping) and a face
// (setters, status). Every sample tells its position, so alignment is checked as well: what comes
// out is the delayed input or its half, nothing else.
#include <atomic>
#include <cmath>
#include <thread>
#include <vector>

#include "check.hpp"
#include "stembridge/link.hpp"
#include "stembridge/realtime_core.hpp"

using namespace stembridge;
using testing::numbered;

int main(int argc, char** argv) {
    const int rounds = argc > 1 ? std::atoi(argv[1]) : 3000;
    constexpr int kChannels = 2;
    constexpr int kLatency = 2048;
    constexpr float kFactor = 0.5f;
    RealtimeCore core;
    CoreConfig config;
    config.channels = kChannels;
    config.max_block_samples = 2048;
    config.latency_samples = kLatency;
    config.max_latency_samples = 4096;
    core.prepare(config);
    std::atomic<bool> done{false};
    std::atomic<long long> served{0};

    std::thread server([&] {
        auto link = ServerLink::open(core.link_name());
        std::vector<float> memory(4096 * kChannels);
        float* lanes[kChannels] = {memory.data(), memory.data() + 4096};
        while (!done) {
            link->wait_input(link->position() + 1, 0.01);
            const auto span = link->read(lanes, 4096);
            for (int c = 0; c < kChannels; ++c) {
                for (long long i = 0; i < span.samples; ++i) lanes[c][i] *= kFactor;
            }
            for (long long sent = 0; sent < span.samples && !done;) {
                const float* rest[kChannels] = {lanes[0] + sent, lanes[1] + sent};
                const auto taken = link->write(span.position + sent, span.samples - sent, rest);
                sent += taken;
                if (taken == 0) std::this_thread::yield();
            }
            served += span.samples;
        }
    });
    std::thread keeper([&] {
        while (!done) {
            core.housekeeping();
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
        }
    });
    std::thread face([&] {
        unsigned n = 0;
        while (!done) {
            core.set_bypass((n / 50) % 5 == 4);
            (void)core.status();
            (void)core.attached();
            ++n;
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
    });

    testing::Random random(7);
    std::vector<float> memory(2048 * kChannels);
    float* block[kChannels] = {memory.data(), memory.data() + 2048};
    long long position = 0;
    long long epoch_start = 0;
    long long wet_samples = 0;
    for (int round = 0; round < rounds; ++round) {
        if (random.below(200) == 0) {
            core.reset();
            epoch_start = position;
        }
        const int n = 1 + random.below(2048);
        for (int c = 0; c < kChannels; ++c) {
            for (int i = 0; i < n; ++i) block[c][i] = numbered(position + i, c);
        }
        const bool offline = (round / 100) % 2 == 1;
        core.process(block, kChannels, n, offline);
        for (int c = 0; c < kChannels; ++c) {
            for (int i = 0; i < n; ++i) {
                const long long p = position + i - kLatency;
                const float dry = p >= epoch_start ? numbered(p, c) : 0.0f;
                const float low = std::fmin(dry, dry * kFactor) - 1e-6f;
                CHECK(block[c][i] >= low && block[c][i] <= dry + 1e-6f,
                      "position %lld: %g is neither %g nor its half", p, double(block[c][i]),
                      double(dry));
                if (p >= epoch_start && std::fabs(block[c][i] - dry * kFactor) < 1e-6f) {
                    ++wet_samples;
                }
            }
        }
        position += n;
        if (!offline) std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    done = true;
    server.join();
    keeper.join();
    face.join();
    const CoreStatus s = core.status();
    std::printf("%lld samples fed, %lld served, %.1f %% heard wet, %llu offline waits\n", position,
                served.load(), 50.0 * double(wet_samples) / double(position),
                static_cast<unsigned long long>(s.waits));
    CHECK(wet_samples > position / 4, "the server was hardly heard");
    CHECK(s.faults == 0, "faults in an honest header");
    CHECK(s.timeouts == 0, "an offline wait gave up");
    return 0;
}
