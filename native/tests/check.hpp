// A check that says what failed and where, and ends the program.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#define CHECK(condition, ...)                                                      \
    do {                                                                           \
        if (!(condition)) {                                                        \
            std::fprintf(stderr, "%s:%d: %s\n  ", __FILE__, __LINE__, #condition); \
            std::fprintf(stderr, __VA_ARGS__);                                     \
            std::fprintf(stderr, "\n");                                            \
            std::exit(1);                                                          \
        }                                                                          \
    } while (false)

namespace testing {

/// A small, fast, reproducible source of numbers (splitmix64).
class Random {
public:
    explicit Random(std::uint64_t seed) : state_(seed) {}
    std::uint64_t next() noexcept {
        std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ull);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
        return z ^ (z >> 31);
    }
    int below(int n) noexcept { return static_cast<int>(next() % static_cast<std::uint64_t>(n)); }
    float audio() noexcept {
        return static_cast<float>(static_cast<std::int64_t>(next() >> 40)) / 8388608.0f - 1.0f;
    }

private:
    std::uint64_t state_;
};

/// Audio whose every sample tells its position and channel, so that misplaced audio is seen. In
/// (0.1, 1): never silent.
inline float numbered(long long position, int channel) noexcept {
    const auto h = static_cast<std::uint64_t>(position * 8 + channel) * 0x9e3779b97f4a7c15ull;
    return 0.1f + 0.9f * static_cast<float>(h >> 40) / 16777216.0f;
}

}  // namespace testing
