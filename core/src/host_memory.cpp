// SPDX-License-Identifier: Apache-2.0
// Memory of this process. A shared window is an unnamed file in memory: it has no name that could
// outlive its processes, and only the same user's processes can open it, through /proc.
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <string>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ringer/control_plane.hpp>
#include <ringer/kernel_memory.hpp>

namespace ringer {

namespace {

[[noreturn]] void fail(const std::string& what) {
  throw BackendError(what + ": " + std::strerror(errno));
}

/// A file descriptor that closes itself.
class File {
 public:
  explicit File(int descriptor) : descriptor_(descriptor) {}
  ~File() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  File(File&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  File& operator=(File&&) = delete;
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

/// Where a shared window is: a descriptor of the process that made it, and what it must lead to, as
/// numbers of processes and descriptors are used again.
struct HostHandle {
  int64_t process;
  int64_t descriptor;
  uint64_t device;
  uint64_t inode;
  uint64_t bytes;
};
static_assert(sizeof(HostHandle) <= sizeof(WindowHandle));

struct stat status_of(const File& file, const char* what) {
  struct stat status;
  if (fstat(file.get(), &status) != 0) fail(what);
  return status;
}

File make_shared_file(size_t bytes) {
  File file(memfd_create("ringer-window", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (file.get() < 0) fail("memfd_create");
  if (fchmod(file.get(), S_IRUSR | S_IWUSR) != 0) fail("fchmod of a window");
  if (ftruncate(file.get(), static_cast<off_t>(bytes)) != 0) {
    fail("ftruncate of a window to " + std::to_string(bytes) + " bytes");
  }
  // Nobody who opens it can take pages away under those who have it mapped.
  if (fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    fail("sealing a window");
  }
  return file;
}

void* map_pages(size_t bytes, int flags, int descriptor) {
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, descriptor, 0);
  if (at == MAP_FAILED) {
    throw BackendError("no address space for " + std::to_string(bytes) + " bytes");
  }
  return at;
}

// Pages appear when they are first touched, so an allocation costs what is really used.
class HostMemory : public KernelMemory {
 public:
  void* allocate(size_t bytes, MemoryUse use) override {
    if (use != MemoryUse::shared_window) return map_pages(bytes, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    File file = make_shared_file(bytes);
    void* at = map_pages(bytes, MAP_SHARED, file.get());
    const std::lock_guard lock(mutex_);
    shared_.emplace(at, std::move(file));
    return at;
  }

  void release(void* at, size_t bytes, MemoryUse use) noexcept override {
    if (use == MemoryUse::shared_window) {
      const std::lock_guard lock(mutex_);
      shared_.erase(at);
    }
    munmap(at, bytes);
  }

  void write(void* to, const void* from, size_t bytes) override { std::memcpy(to, from, bytes); }
  void read(void* to, const void* from, size_t bytes) override { std::memcpy(to, from, bytes); }
  bool host_reachable() const override { return true; }
  uint64_t sharing_domain() const override { return host_identity(); }

  WindowHandle share(void* window) override {
    const std::lock_guard lock(mutex_);
    const auto found = shared_.find(window);
    if (found == shared_.end()) throw BackendError("share: not a shared window of this process");
    const struct stat status = status_of(found->second, "fstat of a window");
    const HostHandle mine{getpid(), found->second.get(), status.st_dev, status.st_ino,
                          static_cast<uint64_t>(status.st_size)};
    WindowHandle handle{};
    std::memcpy(handle.bytes.data(), &mine, sizeof(mine));
    return handle;
  }

  void* open(const WindowHandle& handle) override {
    HostHandle theirs;
    std::memcpy(&theirs, handle.bytes.data(), sizeof(theirs));
    const std::string path =
        "/proc/" + std::to_string(theirs.process) + "/fd/" + std::to_string(theirs.descriptor);
    const File file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (file.get() < 0) fail("opening a window through " + path);
    const struct stat status = status_of(file, "fstat of an opened window");
    if (status.st_dev != theirs.device || status.st_ino != theirs.inode ||
        static_cast<uint64_t>(status.st_size) != theirs.bytes) {
      throw BackendError("opening a window through " + path + ": it is gone");
    }
    void* at = map_pages(theirs.bytes, MAP_SHARED, file.get());
    const std::lock_guard lock(mutex_);
    opened_.emplace(at, theirs.bytes);
    return at;
  }

  void close(void* opened) noexcept override {
    const std::lock_guard lock(mutex_);
    const auto found = opened_.find(opened);
    if (found == opened_.end()) return;
    munmap(opened, found->second);
    opened_.erase(found);
  }

 private:
  std::mutex mutex_;
  std::map<void*, File> shared_;
  std::map<void*, size_t> opened_;
};

uint64_t identify_host() {
  std::string text = std::to_string(geteuid()) + " ";
  std::ifstream boot("/proc/sys/kernel/random/boot_id");
  std::string line;
  if (std::getline(boot, line)) text += line;
  char name[256] = {};
  if (gethostname(name, sizeof(name) - 1) == 0) text += std::string(" ") + name;
  char space[64] = {};
  if (readlink("/proc/self/ns/pid", space, sizeof(space) - 1) > 0) {
    text += std::string(" ") + space;
  }
  uint64_t hash = 14695981039346656037u;  // FNV-1a
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return hash == 0 ? 1 : hash;
}

}  // namespace

uint64_t host_identity() {
  static const uint64_t identity = identify_host();
  return identity;
}

KernelMemory& host_memory() {
  static HostMemory memory;
  return memory;
}

}  // namespace ringer
