// Proof that the audio thread neither allocates, nor locks, nor calls the kernel in real time.
//
// Memory: malloc, calloc, realloc, aligned_alloc, posix_memalign and free are replaced in this
// program and counted while the audio thread is inside process(). Locks: pthread_mutex_lock and
// its kin are counted likewise. Kernel: a seccomp filter on the audio thread turns every system
// call into SIGSYS, which is counted by number. Phase 1 traps all of them: no server waits. In
// phase 2 a server sleeps on the bell; FUTEX_WAKE alone is let through, and counted by the core.
#include <dlfcn.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <limits>
#include <thread>
#include <vector>

#include "check.hpp"
#include "stembridge/link.hpp"
#include "stembridge/realtime_core.hpp"

namespace {

thread_local bool guarded = false;
std::atomic<unsigned> served{0};
std::atomic<int> allocations{0}, locks{0}, calls{0}, last_call{-1};

void count(std::atomic<int>& counter) {
    if (guarded) counter.fetch_add(1, std::memory_order_relaxed);
}

void on_trap(int, siginfo_t* info, void*) {
    if (!guarded) return;
    calls.fetch_add(1, std::memory_order_relaxed);
    last_call.store(info->si_syscall, std::memory_order_relaxed);
}

}  // namespace

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void __libc_free(void*);

void* malloc(std::size_t n) {
    return count(allocations), __libc_malloc(n);
}
void* calloc(std::size_t n, std::size_t m) {
    return count(allocations), __libc_calloc(n, m);
}
void* realloc(void* p, std::size_t n) {
    return count(allocations), __libc_realloc(p, n);
}
void* aligned_alloc(std::size_t a, std::size_t n) {
    return count(allocations), __libc_memalign(a, n);
}
int posix_memalign(void** p, std::size_t a, std::size_t n) {
    count(allocations);
    return (*p = __libc_memalign(a, n)) == nullptr;
}
void free(void* p) {
    count(allocations), __libc_free(p);
}

int pthread_mutex_lock(pthread_mutex_t* m) {
    using Lock = int (*)(pthread_mutex_t*);
    static const auto real = reinterpret_cast<Lock>(dlsym(RTLD_NEXT, "pthread_mutex_lock"));
    count(locks);
    return real(m);
}
int pthread_mutex_trylock(pthread_mutex_t* m) {
    using Lock = int (*)(pthread_mutex_t*);
    static const auto real = reinterpret_cast<Lock>(dlsym(RTLD_NEXT, "pthread_mutex_trylock"));
    count(locks);
    return real(m);
}
}

namespace {

/// From now on, system calls of this thread trap; those that end a thread or a signal handler are
/// let through, and FUTEX_WAKE if asked.
void trap_system_calls(bool allow_wake) {
    struct sigaction action {};
    action.sa_sigaction = on_trap;
    action.sa_flags = SA_SIGINFO;
    CHECK(sigaction(SIGSYS, &action, nullptr) == 0, "sigaction");
    const auto allow = [](unsigned nr) -> std::vector<sock_filter> {
        return {BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    };
    std::vector<sock_filter> program{
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
    const unsigned always[] = {SYS_rt_sigreturn,   SYS_exit,    SYS_exit_group,
                               SYS_rt_sigprocmask, SYS_madvise, SYS_munmap};
    for (const unsigned nr : always) {
        const auto part = allow(nr);
        program.insert(program.end(), part.begin(), part.end());
    }
    if (allow_wake) {  // futex(word, FUTEX_WAKE, …): the low word of the second argument
        program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex, 0, 3));
        program.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[1])));
        program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FUTEX_WAKE, 0, 1));
        program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    }
    program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP));
    const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0, "seccomp is not allowed here");
}

using namespace stembridge;

/// Everything that a host may do on the audio thread, with blocks of 1 to 8192.
void play(RealtimeCore& core, int rounds, unsigned seed) {
    testing::Random random(seed);
    static thread_local std::vector<float> memory(4 * 8192);
    float* block[2] = {memory.data(), memory.data() + 8192};
    float* target[2] = {memory.data() + 2 * 8192, memory.data() + 3 * 8192};
    ProcessTaps taps;
    for (int round = 0; round < rounds; ++round) {
        const int sizes[] = {1, 64, 65, 128, 441, 1024, 8191, 8192};
        const int n = sizes[random.below(8)];
        for (int i = 0; i < n; ++i) block[0][i] = block[1][i] = random.audio();
        if (round % 7 == 0) block[0][0] = std::numeric_limits<float>::quiet_NaN();
        taps.target = round % 3 == 0 ? target : nullptr;
        guarded = true;
        if (round % 11 == 0) core.set_target_gain(random.audio());
        if (round % 13 == 0) core.set_remainder_gain(random.audio());
        if (round % 17 == 0) core.set_bypass(random.below(2) == 0);
        if (round % 97 == 0) core.set_latency_samples(2048 + random.below(1000));
        if (round % 101 == 0) core.reset();
        core.process(block, block, 2, n, false, taps);
        (void)core.status();
        guarded = false;
        // Let the server answer and fall asleep again, without a system call.
        const unsigned before = served.load();
        for (int spin = 0; spin < 300000 && served.load() == before; ++spin) {
        }
    }
}

/// Wilful sins, so that the guard is known to see them.
void sin() {
    guarded = true;
    void* volatile p = std::malloc(100);
    std::free(p);
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
    (void)syscall(SYS_getppid);
    guarded = false;
}

void expect_clean(const char* phase) {
    std::printf("%s: %d allocations, %d locks, %d system calls\n", phase, allocations.load(),
                locks.load(), calls.load());
    CHECK(allocations == 0 && locks == 0 && calls == 0,
          "the audio thread misbehaved (last system call: %d)", last_call.load());
}

}  // namespace

int main(int argc, char** argv) {
    const int rounds = argc > 1 ? std::atoi(argv[1]) : 20000;
    std::thread([] {
        trap_system_calls(false);
        sin();
    }).join();
    CHECK(allocations == 2 && locks == 1 && calls == 1, "the guard is blind: %d %d %d",
          allocations.load(), locks.load(), calls.load());
    allocations = locks = calls = 0;

    RealtimeCore core;
    CoreConfig config;
    config.latency_samples = 2048;
    core.prepare(config);
    std::thread([&] {
        trap_system_calls(false);
        play(core, rounds, 1);
    }).join();
    expect_clean("nobody waits");

    std::atomic<bool> done{false};
    std::thread server([&] {
        auto link = ServerLink::open(core.link_name());
        std::vector<float> memory(2 * 65536);
        float* lanes[2] = {memory.data(), memory.data() + 65536};
        unsigned n = 0;
        while (!done) {
            link->wait_input(link->position() + 1024, 0.05);
            const auto span = link->read(lanes, 65536);
            const bool effects = ++n % 50 < 25;
            link->write(span.position, span.samples, lanes, effects ? lanes : nullptr, nullptr,
                        effects ? 0.5f : 0.0f);
            ++served;
            if (n % 100 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
    });
    while (!core.attached()) {
        core.housekeeping();
        std::this_thread::yield();
    }
    std::thread([&] {
        trap_system_calls(true);
        play(core, rounds, 2);
    }).join();
    done = true;
    server.join();
    expect_clean("a server sleeps on the bell");
    const CoreStatus s = core.status();
    std::printf("served %u times, %llu futex wakes in %llu blocks, %llu missed\n", served.load(),
                static_cast<unsigned long long>(s.wakes), static_cast<unsigned long long>(s.blocks),
                static_cast<unsigned long long>(s.missed_blocks));
    CHECK(s.wakes > 100 && s.wakes <= s.blocks, "wakes");
    return 0;
}
