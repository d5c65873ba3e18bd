// Measures what a block costs the audio thread. Prints one JSON object per line; the table is made
// by tests/bench/bench_native.py.
//
//   copy        memcpy of the block: what could not be less
//   core alone  RealtimeCore, no server: delayed dry
//   core wet    RealtimeCore, every sample answered; the answer is given between the timed parts,
//               so nobody sleeps on the bell
//   core bell   the same with a server process that sleeps until 1024 more samples have come, at
//               real-time pace: some blocks ring it
//   copy, paced the plain copy at the same pace: caches are as cold
//   round trip  the block is handed to a server process by futex and waited for, as bridges do
//               that answer in the same block
//   wake        from the doorbell to the server awake (its clock, the same monotonic one)
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "check.hpp"
#include "stembridge/link.hpp"
#include "stembridge/realtime_core.hpp"

using namespace stembridge;
using Clock = std::chrono::steady_clock;

namespace {

constexpr int kChannels = 2;
constexpr double kRate = 48000.0;

std::int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch())
        .count();
}

struct Audio {
    std::vector<float> memory;
    float* lanes[kChannels];
    explicit Audio(int samples) : memory(static_cast<std::size_t>(samples * kChannels)) {
        testing::Random random(1);
        for (float& x : memory) x = 0.5f * random.audio();
        for (int c = 0; c < kChannels; ++c) lanes[c] = memory.data() + c * samples;
    }
};

void report(const char* what, int block, std::vector<std::int64_t> times) {
    if (times.empty()) return;  // a short run in which no block rang
    std::sort(times.begin(), times.end());
    const auto at = [&](double q) {
        return double(times[std::min(times.size() - 1, std::size_t(q * double(times.size())))]) /
               1000.0;
    };
    std::printf(
        "{\"what\": \"%s\", \"block\": %d, \"count\": %zu, \"p50_us\": %.3f, \"p99_us\": "
        "%.3f, \"p999_us\": %.3f, \"max_us\": %.3f}\n",
        what, block, times.size(), at(0.5), at(0.99), at(0.999), at(1.0));
    std::fflush(stdout);
}

/// A server process: sleeps until `hop` more samples have come, answers all that is there. Writes
/// the time of each awakening to `woke`.
pid_t fork_server(const std::string& name, int hop, std::atomic<std::int64_t>* woke) {
    const pid_t pid = fork();
    CHECK(pid >= 0, "fork");
    if (pid > 0) return pid;
    auto link = ServerLink::open(name);
    Audio audio(65536);
    while (link->plugin_state() == PeerState::alive || link->plugin_state() == PeerState::stalled) {
        if (!link->wait_input(link->position() + hop, 1.0)) continue;
        woke->store(now_ns());
        const auto span = link->read(audio.lanes, 65536);
        link->write(span.position, span.samples, audio.lanes);
    }
    _exit(0);
}

void stop_server(pid_t pid) {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
}

CoreConfig config_for(int block) {
    CoreConfig config;
    config.channels = kChannels;
    config.max_block_samples = block;
    config.latency_samples = 4096;
    return config;
}

void bench_copy(int block, int count) {
    Audio in(block), out(block);
    std::vector<std::int64_t> times;
    for (int i = 0; i < count; ++i) {
        const auto start = now_ns();
        for (int c = 0; c < kChannels; ++c) {
            std::memcpy(out.lanes[c], in.lanes[c], sizeof(float) * std::size_t(block));
        }
        std::atomic_signal_fence(std::memory_order_seq_cst);
        times.push_back(now_ns() - start);
        __asm__ volatile("" : : "r"(out.memory.data()) : "memory");
    }
    report("copy", block, times);
}

void bench_core(int block, int count, bool wet) {
    RealtimeCore core;
    core.set_target_gain(1.0f);
    core.set_remainder_gain(0.5f);
    core.prepare(config_for(block));
    auto server = wet ? ServerLink::open(core.link_name()) : nullptr;
    Audio in(block), out(block), answer(65536);
    std::vector<std::int64_t> times;
    for (int i = 0; i < count; ++i) {
        const auto start = now_ns();
        core.process(in.lanes, out.lanes, kChannels, block, false);
        times.push_back(now_ns() - start);
        if (server) {
            const auto span = server->read(answer.lanes, 65536);
            server->write(span.position, span.samples, answer.lanes);
        }
    }
    if (wet) CHECK(core.status().state == CoreState::wet, "not wet");
    report(wet ? "core wet" : "core alone", block, times);
}

void bench_bell(int block, int count, std::atomic<std::int64_t>* woke) {
    RealtimeCore core;
    core.prepare(config_for(block));
    const pid_t pid = fork_server(core.link_name(), 1024, woke);
    while (!core.attached()) core.housekeeping();
    Audio in(block), out(block);
    std::vector<std::int64_t> all, ringing;
    const auto period =
        std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(block / kRate));
    auto next = Clock::now();
    for (int i = 0; i < count; ++i) {
        std::this_thread::sleep_until(next += period);
        const auto wakes = core.status().wakes;
        const auto start = now_ns();
        core.process(in.lanes, out.lanes, kChannels, block, false);
        all.push_back(now_ns() - start);
        if (core.status().wakes != wakes) ringing.push_back(all.back());
        if (i % 64 == 0) core.housekeeping();
    }
    stop_server(pid);
    // The same pace without the core: what waking up with cold caches costs by itself.
    std::vector<std::int64_t> copies;
    next = Clock::now();
    for (int i = 0; i < count; ++i) {
        std::this_thread::sleep_until(next += period);
        const auto start = now_ns();
        for (int c = 0; c < kChannels; ++c) {
            std::memcpy(out.lanes[c], in.lanes[c], sizeof(float) * std::size_t(block));
        }
        std::atomic_signal_fence(std::memory_order_seq_cst);
        copies.push_back(now_ns() - start);
        __asm__ volatile("" : : "r"(out.memory.data()) : "memory");
    }
    report("copy, paced", block, copies);
    report("core bell", block, all);
    report("core bell, blocks that ring", block, ringing);
}

void bench_round_trip(int block, int count, std::atomic<std::int64_t>* woke) {
    LinkFormat format;
    format.channels = kChannels;
    format.max_block_samples = block;
    auto plugin = PluginLink::create(format, {65536, 65536});
    const pid_t pid = fork_server(plugin->name(), block, woke);
    while (!plugin->server_attached()) std::this_thread::yield();
    Audio in(block), out(block);
    std::vector<std::int64_t> times, wakes;
    for (int i = 0; i < count; ++i) {
        std::this_thread::sleep_for(std::chrono::microseconds(300));  // the server falls asleep
        const auto start = now_ns();
        const std::int64_t position = plugin->position();
        plugin->write(in.lanes, block);
        plugin->ring();
        CHECK(plugin->wait_output(position + block, 5.0), "no answer");
        plugin->copy(position, block, out.lanes, nullptr, nullptr);
        plugin->release(position + block);
        times.push_back(now_ns() - start);
        wakes.push_back(woke->load() - start);
    }
    stop_server(pid);
    report("round trip", block, times);
    report("wake", block, wakes);
}

}  // namespace

int main(int argc, char** argv) {
    const double scale = argc > 1 ? std::atof(argv[1]) : 1.0;
    const auto scaled = [scale](int count) {
        return std::max(100, static_cast<int>(count * scale));
    };
    void* shared = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED, "mmap");
    auto* woke = new (shared) std::atomic<std::int64_t>(0);
    for (const int block : {64, 256, 1024}) {
        bench_copy(block, scaled(100000));
        bench_core(block, scaled(100000), false);
        bench_core(block, scaled(100000), true);
        bench_bell(block, scaled(std::max(1500, 5000 * 64 / block)), woke);
        bench_round_trip(block, scaled(5000), woke);
    }
    return 0;
}
