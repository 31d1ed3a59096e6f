// SPDX-License-Identifier: Apache-2.0
// Pages of doorbell registers as kernels know them. Several queue pairs may have their registers on
// one page, and a page can be mapped once only.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <utility>

#include <unistd.h>

#include <ringer/kernel_memory.hpp>

namespace ringer::mlx5 {

class RegisterPages {
 public:
  /// The address by which `memory`'s kernels know `reg`. Errors: BackendError.
  void* take(KernelMemory& memory, void* reg) {
    const std::lock_guard lock(mutex_);
    uint8_t* const page = page_of(reg);
    Mapped& mapped = pages_[{&memory, page}];
    try {
      if (mapped.users == 0) mapped.at = memory.map_registers(page, page_bytes());
    } catch (...) {
      pages_.erase({&memory, page});
      throw;
    }
    ++mapped.users;
    return static_cast<uint8_t*>(mapped.at) + (static_cast<uint8_t*>(reg) - page);
  }

  /// One user less of the page that `reg` is on.
  void give_back(KernelMemory& memory, void* reg) noexcept {
    const std::lock_guard lock(mutex_);
    uint8_t* const page = page_of(reg);
    const auto found = pages_.find({&memory, page});
    if (--found->second.users != 0) return;
    memory.unmap_registers(page);
    pages_.erase(found);
  }

 private:
  // The system's, which may hold several of the device's.
  static size_t page_bytes() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }
  static uint8_t* page_of(void* reg) {
    return static_cast<uint8_t*>(reg) - reinterpret_cast<uintptr_t>(reg) % page_bytes();
  }

  struct Mapped {
    void* at = nullptr;
    uint32_t users = 0;
  };
  std::mutex mutex_;
  std::map<std::pair<KernelMemory*, void*>, Mapped> pages_;
};

}  // namespace ringer::mlx5
