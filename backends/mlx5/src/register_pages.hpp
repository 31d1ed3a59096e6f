// SPDX-License-Identifier: Apache-2.0
// Pages of doorbell registers as kernels know them. Several queue pairs may have their registers on
// one page, and a page can be mapped once only.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <utility>

#include <ringer/kernel_memory.hpp>

namespace ringer::mlx5 {

/// Bytes of a page of doorbell registers.
inline constexpr size_t kUarBytes = 4096;

class RegisterPages {
 public:
  /// The address by which `memory`'s kernels know `page`. Errors: BackendError.
  uint8_t* take(KernelMemory& memory, void* page) {
    const std::lock_guard lock(mutex_);
    Mapped& mapped = pages_[{&memory, page}];
    try {
      if (mapped.users == 0) mapped.at = memory.map_registers(page, kUarBytes);
    } catch (...) {
      pages_.erase({&memory, page});
      throw;
    }
    ++mapped.users;
    return static_cast<uint8_t*>(mapped.at);
  }

  /// One user less.
  void give_back(KernelMemory& memory, void* page) noexcept {
    const std::lock_guard lock(mutex_);
    const auto found = pages_.find({&memory, page});
    if (--found->second.users != 0) return;
    memory.unmap_registers(page);
    pages_.erase(found);
  }

 private:
  struct Mapped {
    void* at = nullptr;
    uint32_t users = 0;
  };
  std::mutex mutex_;
  std::map<std::pair<KernelMemory*, void*>, Mapped> pages_;
};

}  // namespace ringer::mlx5
