// SPDX-License-Identifier: Apache-2.0
// The UAR pages of a context, its clock page and its device memory. They lie in a memory file, and
// the file is what the application has open as its uverbs device: to map a page it need only call
// mmap.
#pragma once

#include <atomic>
#include <bitset>
#include <cstdint>

#include "file_id.hpp"

namespace ringer::sim::verbs {

class Bar {
 public:
  static constexpr uint32_t kPageBytes = 4096;
  static constexpr uint32_t kPages = 1024;
  static constexpr uint32_t kMemoryPages = 256;  ///< of device memory, numbered by themselves

  /// Errors: VerbsError.
  explicit Bar(const char* name);
  ~Bar();
  Bar(const Bar&) = delete;
  Bar& operator=(const Bar&) = delete;

  /// The descriptor for the application, which closes it.
  int take_fd();
  FileId id() const { return id_; }

  /// A page full of zeros; its number is its place in the file and never 0. Errors: VerbsError.
  uint32_t allocate();
  void release(uint32_t page) { used_.reset(page); }
  uint64_t* registers(uint32_t page) const { return static_cast<uint64_t*>(at(page)); }

  /// Consecutive pages of device memory, full of zeros. Returns the first. Errors: VerbsError.
  uint32_t allocate_memory(uint32_t pages);
  /// Does nothing if another process has allocated them.
  void release_memory(uint32_t first, uint32_t pages);
  uint8_t* memory(uint32_t first) const;

 private:
  using Owner = std::atomic<uint32_t>;  // of a page of device memory: a process number, or 0
  Owner& owner_of(uint32_t memory_page) const;
  void* at(uint32_t page) const { return pages_ + size_t{page} * kPageBytes; }
  void set_clock() const;

  int fd_ = -1;
  uint8_t* pages_ = nullptr;
  FileId id_{};
  std::bitset<kPages> used_{1};
};

}  // namespace ringer::sim::verbs
