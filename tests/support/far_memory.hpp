// SPDX-License-Identifier: Apache-2.0
// Memory like a GPU's: whoever touches it from the host without asking for a copy faults.
#pragma once

#include <cstring>
#include <map>
#include <new>

#include <sys/mman.h>

#include <ringer/kernel_memory.hpp>

namespace ringer::test {

/// Windows and queues are the host's own; what only kernels touch is out of its reach.
class FarMemory : public KernelMemory {
 public:
  void* allocate(size_t bytes, MemoryUse use) override {
    void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) throw std::bad_alloc();
    if (use == MemoryUse::kernel) {
      far_[static_cast<uint8_t*>(at)] = bytes;
      mprotect(at, bytes, PROT_NONE);
    }
    return at;
  }
  void release(void* at, size_t bytes, MemoryUse /*use*/) noexcept override {
    far_.erase(static_cast<uint8_t*>(at));
    munmap(at, bytes);
  }
  void write(void* to, const void* from, size_t bytes) override { copy(to, from, bytes); }
  void read(void* to, const void* from, size_t bytes) override { copy(to, from, bytes); }
  bool host_reachable() const override { return false; }

 private:
  void copy(void* to, const void* from, size_t bytes) {
    for (const auto& [at, size] : far_) mprotect(at, size, PROT_READ | PROT_WRITE);
    std::memcpy(to, from, bytes);
    for (const auto& [at, size] : far_) mprotect(at, size, PROT_NONE);
  }

  std::map<uint8_t*, size_t> far_;
};

}  // namespace ringer::test
