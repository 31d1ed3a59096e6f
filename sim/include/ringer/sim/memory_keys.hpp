// SPDX-License-Identifier: Apache-2.0
// The memory-key table of one NIC: which ranges a WQE may name, by key, range and access right.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <ringer/sim/verbs_nic.hpp>

namespace ringer::sim {

/// Keys are `slot << 8 | variant`; the variant changes at each reuse of a slot, so that a key of a
/// deregistered range is refused. Not thread-safe: the fabric's gate guards it.
class MemoryKeys {
 public:
  enum class Check { ok, unknown_key, out_of_range, access_denied };

  /// What a WQE asks for.
  struct Want {
    uint32_t key;
    uint64_t address;
    uint64_t bytes;
    uint32_t access;  ///< all of these rights
    uint32_t protection_domain;
  };

  /// Registers a range. Returns its key.
  uint32_t add(const MemoryRange& range);
  /// A window that is not bound: it allows nothing.
  uint32_t add_window(uint32_t protection_domain);
  /// Binds a window: its key gets another low byte. False if the key is no window, or
  /// `must_be_free` and it is bound.
  bool bind(uint32_t key, uint8_t low_byte, const MemoryRange& range, bool must_be_free);
  /// A bound window is so no more; other keys stay as they are.
  void invalidate(uint32_t key, uint32_t protection_domain);
  /// Those that are bound to memory of `key` become free; returns their keys.
  std::vector<uint32_t> unbind_windows_of(uint32_t key);
  /// Same key, another range. Both throw BackendError if `key` is not registered.
  void change(uint32_t key, const MemoryRange& range);
  void remove(uint32_t key);

  /// May it be done? Then `host` is where.
  Check check(const Want& want, uint8_t** host) const {
    const uint32_t slot = want.key >> 8;
    if (slot >= entries_.size() || entries_[slot].key != want.key) return Check::unknown_key;
    const MemoryRange& r = entries_[slot].range;
    const uint64_t offset = want.address - r.start;
    if (want.address < r.start || offset > r.bytes || want.bytes > r.bytes - offset) {
      return Check::out_of_range;
    }
    *host = r.host + offset;
    const bool allowed = (r.access & want.access) == want.access;
    if (!allowed || r.protection_domain != want.protection_domain) return Check::access_denied;
    return r.on_demand && !page_in(*host, want) ? Check::out_of_range : Check::ok;
  }

  size_t live() const { return live_; }

 private:
  static constexpr uint32_t kUnused = 0;
  struct Entry {
    uint32_t key = kUnused;
    uint8_t variant = 0;
    bool window = false;
    MemoryRange range;
  };
  static bool page_in(uint8_t* at, const Want& want);
  Entry& entry(uint32_t key, const char* verb);
  Entry* window(uint32_t key);

  // Slots 0 and 1 are never handed out, so no key is 0 or mlx5::kInvalidKey.
  std::vector<Entry> entries_{2};
  std::vector<uint32_t> free_;
  size_t live_ = 0;
};

}  // namespace ringer::sim
