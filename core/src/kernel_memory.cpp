// SPDX-License-Identifier: Apache-2.0
#include <cstring>
#include <string>

#include <sys/mman.h>

#include <ringer/control_plane.hpp>
#include <ringer/kernel_memory.hpp>

namespace ringer {

namespace {

// Pages appear when they are first touched, so an allocation costs what is really used.
class HostMemory : public KernelMemory {
 public:
  void* allocate(size_t bytes, MemoryUse /*use*/) override {
    void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) {
      throw BackendError("no address space for " + std::to_string(bytes) + " bytes");
    }
    return at;
  }
  void release(void* at, size_t bytes, MemoryUse /*use*/) noexcept override { munmap(at, bytes); }
  void write(void* to, const void* from, size_t bytes) override { std::memcpy(to, from, bytes); }
  void read(void* to, const void* from, size_t bytes) override { std::memcpy(to, from, bytes); }
  bool host_reachable() const override { return true; }
};

}  // namespace

KernelMemory& host_memory() {
  static HostMemory memory;
  return memory;
}

}  // namespace ringer
