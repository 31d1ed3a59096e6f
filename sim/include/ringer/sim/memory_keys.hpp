// SPDX-License-Identifier: Apache-2.0
// The memory-key table of one NIC: which ranges a WQE may name, by key, range and access right.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ringer::sim {

/// Keys are `slot << 8 | variant`; the variant changes at each reuse of a slot, so that a key of a
/// deregistered range is refused. Not thread-safe: the fabric's gate guards it.
class MemoryKeys {
 public:
  enum class Check { ok, unknown_key, out_of_range, access_denied };

  /// Registers [address, address + bytes) with rights `access` (ringer::access bits). Returns its
  /// key.
  uint32_t add(uint64_t address, uint64_t bytes, uint32_t access);
  /// Throws BackendError if `key` is not registered.
  void remove(uint32_t key);

  /// May `key` be used for `bytes` at `address` with all rights in `access`?
  Check check(uint32_t key, uint64_t address, uint64_t bytes, uint32_t access) const {
    const uint32_t slot = key >> 8;
    if (slot >= entries_.size() || entries_[slot].key != key) return Check::unknown_key;
    const Entry& e = entries_[slot];
    if (address < e.start || address - e.start > e.bytes || bytes > e.bytes - (address - e.start)) {
      return Check::out_of_range;
    }
    return (e.access & access) == access ? Check::ok : Check::access_denied;
  }

  size_t live() const { return live_; }

 private:
  static constexpr uint32_t kUnused = 0;  // slot 0 is never handed out, so no key is 0
  struct Entry {
    uint32_t key = kUnused;
    uint32_t access = 0;
    uint64_t start = 0;
    uint64_t bytes = 0;
    uint8_t variant = 0;
  };
  std::vector<Entry> entries_{1};
  std::vector<uint32_t> free_;
  size_t live_ = 0;
};

}  // namespace ringer::sim
