// A named piece of memory shared by two processes of one user, and the locks that tell whether
// the other process lives. Not real-time, except for touching the memory itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace stembridge {

enum class End : int { plugin = 0, server = 1 };

class SharedMemory {
public:
    /// A new object with a random name, mode 0600, zeroed, every page reserved and touched, locked
    /// into RAM where the limits allow. Holds the lock of `End::plugin`. Throws LinkError.
    static std::unique_ptr<SharedMemory> create(std::size_t bytes);
    /// Maps an existing object of this user, whole. Throws LinkError.
    static std::unique_ptr<SharedMemory> open(const std::string& name);
    /// Unmaps. The name stays; see unlink().
    ~SharedMemory();
    SharedMemory(const SharedMemory&) = delete;
    SharedMemory& operator=(const SharedMemory&) = delete;

    void* data() const noexcept { return data_; }
    std::size_t bytes() const noexcept { return bytes_; }
    const std::string& name() const noexcept { return name_; }
    void unlink() noexcept;

    /// Takes the lock of one end for the life of this object; false: another process (or another
    /// object in this one) holds it. Platforms without such locks always say true.
    bool take_lock(End end) noexcept;
    enum class Held { no, yes, unknown };
    /// Whether someone else holds the lock of that end. The lock dies with its process.
    Held lock_held(End end) const noexcept;

    /// Calls `visit` for each object of this user that carries our prefix, where names can be
    /// listed. `age_seconds`: since its content's last change of size.
    static void for_each(const std::function<void(SharedMemory&, double age_seconds)>& visit);

private:
    SharedMemory() = default;
    std::string name_;
    void* data_ = nullptr;
    std::size_t bytes_ = 0;
    std::intptr_t handle_ = -1;  // file descriptor, or HANDLE on Windows
};

/// Whether a process with this number exists; the fallback where there are no locks.
bool process_exists(std::int64_t pid) noexcept;
std::int64_t current_process_id() noexcept;

}  // namespace stembridge
