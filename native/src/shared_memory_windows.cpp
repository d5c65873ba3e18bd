// Shared memory on Windows: named, page-file backed mappings in the session's namespace. Written
// after Microsoft's documentation, untested. The object goes with its last handle, so nothing is
// ever stale and unlink() has nothing to do; liveness is by process number and heartbeat.
#define NOMINMAX
#include <windows.h>

#include <cstring>
#include <random>

#include "shared_memory.hpp"
#include "stembridge/errors.hpp"

namespace stembridge {
namespace {

constexpr char kPrefix[] = "/stembridge-";

std::string mapping_name(const std::string& name) {
    return "Local\\" + name.substr(1);
}

}  // namespace

std::unique_ptr<SharedMemory> SharedMemory::create(std::size_t bytes) {
    std::unique_ptr<SharedMemory> memory(new SharedMemory());
    std::random_device device;
    memory->name_ = kPrefix;
    for (int i = 0; i < 16; ++i) memory->name_ += "0123456789abcdef"[device() & 15u];
    HANDLE handle = CreateFileMappingA(INVALID_HANDLE_VALUE, nullptr, PAGE_READWRITE,
                                       static_cast<DWORD>(static_cast<std::uint64_t>(bytes) >> 32),
                                       static_cast<DWORD>(bytes & 0xffffffffu),
                                       mapping_name(memory->name_).c_str());
    const DWORD error = GetLastError();
    if (handle == nullptr || error == ERROR_ALREADY_EXISTS) {
        if (handle != nullptr) CloseHandle(handle);
        throw LinkError("cannot reserve shared memory (Windows error " + std::to_string(error) +
                        "); close other programs");
    }
    memory->handle_ = reinterpret_cast<std::intptr_t>(handle);
    memory->data_ = MapViewOfFile(handle, FILE_MAP_ALL_ACCESS, 0, 0, bytes);
    if (memory->data_ == nullptr) {
        throw LinkError("cannot map shared memory (Windows error " +
                        std::to_string(GetLastError()) + "); close other programs");
    }
    memory->bytes_ = bytes;
    std::memset(memory->data_, 0, bytes);
    (void)VirtualLock(memory->data_, bytes);
    return memory;
}

std::unique_ptr<SharedMemory> SharedMemory::open(const std::string& name) {
    const std::size_t prefix = sizeof(kPrefix) - 1;
    if (name.size() != prefix + 16 || name.compare(0, prefix, kPrefix) != 0) {
        throw LinkError("'" + name.substr(0, 80) + "' is not the name of a Stembridge link");
    }
    std::unique_ptr<SharedMemory> memory(new SharedMemory());
    memory->name_ = name;
    HANDLE handle = OpenFileMappingA(FILE_MAP_ALL_ACCESS, FALSE, mapping_name(name).c_str());
    if (handle == nullptr) {
        throw LinkError("cannot open link " + name +
                        "; the plugin that made it may be gone, reload it");
    }
    memory->handle_ = reinterpret_cast<std::intptr_t>(handle);
    memory->data_ = MapViewOfFile(handle, FILE_MAP_ALL_ACCESS, 0, 0, 0);
    MEMORY_BASIC_INFORMATION info{};
    if (memory->data_ == nullptr || VirtualQuery(memory->data_, &info, sizeof(info)) == 0) {
        throw LinkError("cannot map link " + name);
    }
    memory->bytes_ = info.RegionSize;
    return memory;
}

SharedMemory::~SharedMemory() {
    if (data_ != nullptr) UnmapViewOfFile(data_);
    if (handle_ != -1) CloseHandle(reinterpret_cast<HANDLE>(handle_));
}

void SharedMemory::unlink() noexcept {}
bool SharedMemory::take_lock(End) noexcept {
    return true;
}
SharedMemory::Held SharedMemory::lock_held(End) const noexcept {
    return Held::unknown;
}
void SharedMemory::for_each(const std::function<void(SharedMemory&, double)>&) {}

bool process_exists(std::int64_t pid) noexcept {
    if (pid <= 0 || pid > 0xffffffffll) return false;
    HANDLE process = OpenProcess(SYNCHRONIZE, FALSE, static_cast<DWORD>(pid));
    if (process == nullptr) return GetLastError() == ERROR_ACCESS_DENIED;
    const bool running = WaitForSingleObject(process, 0) == WAIT_TIMEOUT;
    CloseHandle(process);
    return running;
}

std::int64_t current_process_id() noexcept {
    return static_cast<std::int64_t>(GetCurrentProcessId());
}

}  // namespace stembridge
