// POSIX shared memory. Linux: liveness by open-file-description locks, sweeping through /dev/shm.
// macOS (written, untested): no such locks on shared memory and no listing of names, so liveness
// falls back to process numbers and heartbeats.
#include "shared_memory.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <random>

#include "stembridge/errors.hpp"

#if defined(__linux__)
#include <dirent.h>
#endif

namespace stembridge {
namespace {

// macOS allows 31 characters in all; this makes 1 + 11 + 16 = 28.
constexpr char kPrefix[] = "/stembridge-";

std::string random_name() {
    std::random_device device;
    std::string name = kPrefix;
    for (int i = 0; i < 16; ++i) name += "0123456789abcdef"[device() & 15u];
    return name;
}

bool is_our_name(const std::string& name) {
    const std::size_t prefix = sizeof(kPrefix) - 1;
    if (name.size() != prefix + 16 || name.compare(0, prefix, kPrefix) != 0) return false;
    return name.find_first_not_of("0123456789abcdef", prefix) == std::string::npos;
}

std::string megabytes(std::size_t bytes) {
    return std::to_string((bytes + (1u << 20) - 1) >> 20) + " MB";
}

constexpr std::size_t kGuard = 16384;  // a page on every supported machine, or several

std::size_t whole_pages(std::size_t bytes) {
    return (bytes + kGuard - 1) / kGuard * kGuard;
}

/// Maps the file with inaccessible pages on both sides: a stray index ends in a clean fault, never
/// in somebody else's memory. Null on failure, with errno.
void* map_between_guards(int fd, std::size_t bytes) {
    const std::size_t span = whole_pages(bytes) + 2 * kGuard;
    void* reserved = mmap(nullptr, span, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (reserved == MAP_FAILED) return nullptr;
    void* data = mmap(static_cast<char*>(reserved) + kGuard, bytes, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_FIXED, fd, 0);
    if (data == MAP_FAILED) {
        const int error = errno;
        munmap(reserved, span);
        errno = error;
        return nullptr;
    }
    return data;
}

int reserve(int fd, std::size_t bytes) {
#if defined(__linux__)
    // Without this, a full /dev/shm would kill the host with SIGBUS at the first touch.
    int error = EINTR;
    while (error == EINTR) error = posix_fallocate(fd, 0, static_cast<off_t>(bytes));
    return error;
#else
    return ftruncate(fd, static_cast<off_t>(bytes)) == 0 ? 0 : errno;
#endif
}

#if defined(__linux__)
struct flock lock_of(End end, short type) {
    struct flock lock {};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = static_cast<int>(end);
    lock.l_len = 1;
    return lock;
}
#endif

}  // namespace

std::unique_ptr<SharedMemory> SharedMemory::create(std::size_t bytes) {
    std::unique_ptr<SharedMemory> memory(new SharedMemory());
    for (int attempt = 0; attempt < 8 && memory->handle_ < 0; ++attempt) {
        memory->name_ = random_name();
        memory->handle_ = shm_open(memory->name_.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
        if (memory->handle_ < 0 && errno != EEXIST) break;
    }
    if (memory->handle_ < 0) {
        throw LinkError(std::string("cannot create shared memory: ") + std::strerror(errno) +
                        "; check that /dev/shm exists and is writable");
    }
    const int fd = static_cast<int>(memory->handle_);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    memory->take_lock(End::plugin);
    if (const int error = reserve(fd, bytes); error != 0) {
        memory->unlink();
        throw LinkError("cannot reserve " + megabytes(bytes) +
                        " of shared memory: " + std::strerror(error) +
                        "; free some in /dev/shm or make it larger (df -h /dev/shm shows it), "
                        "then load the plugin again");
    }
    void* data = map_between_guards(fd, bytes);
    if (data == nullptr) {
        const int error = errno;
        memory->unlink();
        throw LinkError("cannot map " + megabytes(bytes) +
                        " of shared memory: " + std::strerror(error) + "; close other programs");
    }
    memory->data_ = data;
    memory->bytes_ = bytes;
    std::memset(data, 0, bytes);  // touch every page before the audio thread does
    (void)mlock(data, bytes);     // best effort: the limit is often 8 MB
    return memory;
}

std::unique_ptr<SharedMemory> SharedMemory::open(const std::string& name) {
    if (!is_our_name(name)) {
        throw LinkError("'" + name.substr(0, 80) +
                        "' is not the name of a Stembridge link; names look like /stembridge-"
                        "0123456789abcdef and are given by the plugin");
    }
    std::unique_ptr<SharedMemory> memory(new SharedMemory());
    memory->name_ = name;
    memory->handle_ = shm_open(name.c_str(), O_RDWR, 0);
    if (memory->handle_ < 0) {
        throw LinkError("cannot open link " + name + ": " + std::strerror(errno) +
                        "; the plugin that made it may be gone, reload it");
    }
    const int fd = static_cast<int>(memory->handle_);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    struct stat info {};
    if (fstat(fd, &info) != 0 || info.st_uid != geteuid()) {
        throw LinkError("link " + name + " belongs to another user; run plugin and server as one");
    }
    if (info.st_size <= 0) {
        throw LinkError("link " + name + " is empty; reload the plugin that made it");
    }
    memory->bytes_ = static_cast<std::size_t>(info.st_size);
    void* data = map_between_guards(fd, memory->bytes_);
    if (data == nullptr) {
        throw LinkError("cannot map link " + name + ": " + std::strerror(errno));
    }
    memory->data_ = data;
    return memory;
}

SharedMemory::~SharedMemory() {
    if (data_ != nullptr) {
        munmap(static_cast<char*>(data_) - kGuard, whole_pages(bytes_) + 2 * kGuard);
    }
    if (handle_ >= 0) close(static_cast<int>(handle_));
}

void SharedMemory::unlink() noexcept {
    shm_unlink(name_.c_str());
}

bool SharedMemory::take_lock([[maybe_unused]] End end) noexcept {
#if defined(__linux__)
    struct flock lock = lock_of(end, F_WRLCK);
    return fcntl(static_cast<int>(handle_), F_OFD_SETLK, &lock) == 0;
#else
    return true;
#endif
}

SharedMemory::Held SharedMemory::lock_held([[maybe_unused]] End end) const noexcept {
#if defined(__linux__)
    struct flock lock = lock_of(end, F_WRLCK);
    if (fcntl(static_cast<int>(handle_), F_OFD_GETLK, &lock) != 0) return Held::unknown;
    return lock.l_type == F_UNLCK ? Held::no : Held::yes;
#else
    return Held::unknown;
#endif
}

void SharedMemory::for_each(
    [[maybe_unused]] const std::function<void(SharedMemory&, double)>& visit) {
#if defined(__linux__)
    DIR* directory = opendir("/dev/shm");
    if (directory == nullptr) return;
    while (const dirent* entry = readdir(directory)) {
        const std::string name = std::string("/") + entry->d_name;
        if (!is_our_name(name)) continue;
        SharedMemory memory;
        memory.name_ = name;
        memory.handle_ = shm_open(name.c_str(), O_RDWR, 0);
        if (memory.handle_ < 0) continue;
        const int fd = static_cast<int>(memory.handle_);
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        struct stat info {};
        if (fstat(fd, &info) != 0 || info.st_uid != geteuid()) continue;
        if (info.st_size > 0) {
            const auto bytes = static_cast<std::size_t>(info.st_size);
            void* data = map_between_guards(fd, bytes);
            if (data == nullptr) continue;
            memory.data_ = data;
            memory.bytes_ = bytes;
        }
        visit(memory, std::difftime(std::time(nullptr), info.st_ctime));
    }
    closedir(directory);
#endif
}

bool process_exists(std::int64_t pid) noexcept {
    if (pid <= 0 || pid > 0x7fffffff) return false;
    return kill(static_cast<pid_t>(pid), 0) == 0 || errno == EPERM;
}

std::int64_t current_process_id() noexcept {
    return getpid();
}

}  // namespace stembridge
