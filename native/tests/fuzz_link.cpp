// Random bytes over the header and the rings of a live link, from a second mapping, while both
// ends work: each call must end with an error or with noise of the right length. The mapping lies
// between inaccessible pages, so any access outside ends the program.
//
// Run under AddressSanitizer and UndefinedBehaviorSanitizer.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "check.hpp"
#include "layout.hpp"
#include "stembridge/link.hpp"
#include "stembridge/realtime_core.hpp"

using namespace stembridge;

namespace {

constexpr int kChannels = 2;
constexpr int kMaxBlock = 1024;

struct Attacker {
    unsigned char* bytes = nullptr;
    std::size_t size = 0;
    explicit Attacker(const std::string& name) {
        const int fd = shm_open(name.c_str(), O_RDWR, 0);
        struct stat info {};
        CHECK(fd >= 0 && fstat(fd, &info) == 0, "cannot open %s", name.c_str());
        size = static_cast<std::size_t>(info.st_size);
        bytes = static_cast<unsigned char*>(
            mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
        close(fd);
    }
    ~Attacker() { munmap(bytes, size); }

    void attack(testing::Random& random) {
        const int kind = random.below(5);
        const std::size_t header = sizeof(SharedHeader);
        if (kind == 0) {  // noise over a part of the header
            const std::size_t at = random.next() % header;
            const std::size_t length = std::min(header - at, 1 + random.next() % 64);
            for (std::size_t i = 0; i < length; ++i) {
                bytes[at + i] = static_cast<unsigned char>(random.next());
            }
        } else if (kind == 1) {  // a nasty number in a word of the header
            static const std::int64_t nasty[] = {0,
                                                 -1,
                                                 1,
                                                 std::numeric_limits<std::int64_t>::max(),
                                                 std::numeric_limits<std::int64_t>::min(),
                                                 std::int64_t{1} << 62,
                                                 (std::int64_t{1} << 62) - 1,
                                                 0x7fffffff,
                                                 std::int64_t{0xffffffff}};
            const std::size_t at = random.next() % (header / 8) * 8;
            std::memcpy(bytes + at, &nasty[random.below(9)], 8);
        } else if (kind == 2) {  // a number near the truth
            const std::size_t at = random.next() % (header / 8) * 8;
            std::int64_t value = 0;
            std::memcpy(&value, bytes + at, 8);
            value = static_cast<std::int64_t>(static_cast<std::uint64_t>(value) +
                                              static_cast<std::uint64_t>(random.below(200001)) -
                                              100000u);
            std::memcpy(bytes + at, &value, 8);
        } else {  // noise over the rings: every kind of float
            for (int i = 0; i < 200; ++i) {
                const std::size_t at = kPage + random.next() % (size - kPage - 8);
                const std::uint64_t value = random.next();
                std::memcpy(bytes + at, &value, 8);
            }
        }
    }
};

}  // namespace

int main(int argc, char** argv) {
    const int rounds = argc > 1 ? std::atoi(argv[1]) : 300;
    testing::Random random(argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1);
    std::vector<float> memory(16384 * 5);
    float* lanes[5];
    for (int i = 0; i < 5; ++i) lanes[i] = memory.data() + 16384 * i;
    long long errors = 0, reads = 0, writes = 0, faults = 0, refused = 0;

    for (int round = 0; round < rounds; ++round) {
        RealtimeCore core;
        CoreConfig config;
        config.channels = kChannels;
        config.max_block_samples = kMaxBlock;
        config.latency_samples = 1000;
        config.max_latency_samples = 2000;
        core.prepare(config);
        core.set_offline_timeout_seconds(0.0);
        const std::string name = core.link_name();
        Attacker attacker(name);
        std::unique_ptr<ServerLink> server;
        for (int step = 0; step < 60; ++step) {
            if (random.below(3) == 0) attacker.attack(random);
            if (!server && random.below(4) == 0) {
                try {
                    server = ServerLink::open(name);
                } catch (const LinkError&) {
                    ++refused;
                }
            }
            const int n = 1 + random.below(kMaxBlock * 2);
            std::vector<float> left(static_cast<std::size_t>(n)), right(left);
            for (int i = 0; i < n; ++i) {
                left[static_cast<std::size_t>(i)] = random.audio();
                right[static_cast<std::size_t>(i)] = -random.audio();
            }
            float* block[2] = {left.data(), right.data()};
            core.process(block, 2, n, random.below(4) == 0);
            for (const auto* channel : {&left, &right}) {
                for (const float x : *channel) CHECK(std::isfinite(x), "%g came out", double(x));
            }
            if (random.below(8) == 0) core.reset();
            if (random.below(8) == 0) core.housekeeping();
            if (!server) continue;
            if (random.below(3) == 0) attacker.attack(random);
            const auto span = server->read(lanes, 1 + random.below(16384));
            CHECK(span.samples >= 0 && span.samples <= 16384, "span of %lld",
                  static_cast<long long>(span.samples));
            ++reads;
            const float* target[2] = {lanes[0], lanes[1]};
            const float* output[2] = {lanes[2], lanes[3]};
            const auto at = random.below(3) == 0 ? static_cast<std::int64_t>(random.next())
                                                 : span.position + random.below(3000) - 1000;
            const auto taken = server->write(at, random.below(16384), target,
                                             random.below(2) == 0 ? output : nullptr,
                                             random.below(2) == 0 ? lanes[4] : nullptr, 0.5f);
            CHECK(taken >= 0 && taken <= 16384, "%lld samples taken",
                  static_cast<long long>(taken));
            ++writes;
            server->skip_to(random.below(2) == 0 ? static_cast<std::int64_t>(random.next())
                                                 : server->position() + 100);
            (void)server->wait_input(server->position() + 1, 0.0);
            (void)server->play_position();
            (void)server->available();
            (void)server->plugin_state();
            try {
                (void)server->format();
                server->check();
            } catch (const LinkError&) {
                ++errors;
            }
            if (random.below(20) == 0) server.reset();
        }
        faults += static_cast<long long>(core.status().faults);
    }
    std::printf(
        "%lld reads, %lld writes, %lld errors named, %lld openings refused, %lld faults "
        "counted\n",
        reads, writes, errors, refused, faults);
    CHECK(reads > rounds && errors > 0 && refused > 0 && faults > 0,
          "the attacks did not reach the code");
    return 0;
}
