// SPDX-License-Identifier: Apache-2.0
// Small numbers for keys, in the order in which they come.
#pragma once

#include <cstdint>
#include <vector>

#include <ringer/sim/explore/digest.hpp>

namespace ringer::sim {

/// Open addressing, at most half full.
class Numbering {
 public:
  static constexpr uint32_t kNone = ~uint32_t{0};

  uint32_t size() const { return static_cast<uint32_t>(keys_.size()); }
  uint64_t key(uint32_t number) const { return keys_[number]; }

  /// kNone for a key that has none yet.
  uint32_t find(uint64_t key) const { return slots_.empty() ? kNone : slots_[slot_of(key)]; }

  /// The next number for a key that has none yet.
  uint32_t number_of(uint64_t key) {
    if (2 * (keys_.size() + 1) > slots_.size()) grow();
    uint32_t& slot = slots_[slot_of(key)];
    if (slot == kNone) {
      slot = size();
      keys_.push_back(key);
    }
    return slot;
  }

 private:
  size_t slot_of(uint64_t key) const {
    size_t i = (key * 0x9e3779b97f4a7c15u) >> shift_;
    while (slots_[i] != kNone && keys_[slots_[i]] != key) i = (i + 1) & (slots_.size() - 1);
    return i;
  }
  void grow() {
    shift_ = slots_.empty() ? 58 : shift_ - 1;
    slots_.assign(size_t{1} << (64 - shift_), kNone);
    for (uint32_t number = 0; number < size(); ++number) slots_[slot_of(keys_[number])] = number;
  }

  uint32_t shift_ = 0;
  std::vector<uint32_t> slots_;
  std::vector<uint64_t> keys_;
};

}  // namespace ringer::sim
