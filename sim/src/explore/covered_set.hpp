// SPDX-License-Identifier: Apache-2.0
// States all of whose executions have been seen, to find those that can do no more than one of
// them.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include <ringer/sim/explore/memory_model.hpp>

namespace ringer::sim {

/// Memories by what else tells states apart. Few of those under one key are looked at: their
/// extents lie side by side.
class CoveredSet {
 public:
  CoveredSet() : slots_(kFirstSlots) {}

  /// Whether `covers(one)` holds for one of the memories that were added with `key`, whose extent
  /// allows it.
  template <class F>
  bool any(uint64_t key, const MemoryModel::Extent& extent, F&& covers) const {
    for (uint32_t g = slots_[slot_of(key)].newest; g != kNone; g = groups_[g].older) {
      const Group& group = groups_[g];
      for (uint32_t i = 0; i < group.members; ++i) {
        if (!group.extents[i].may_cover(extent)) continue;
        const uint32_t* const memory = &words_[group.memories[i]];
        if (covers(std::span(memory + 1, *memory))) return true;
      }
    }
    return false;
  }

  void add(uint64_t key, const MemoryModel::Summary& memory) {
    if (2 * (keys_ + 1) > slots_.size()) grow();
    Slot& slot = slots_[slot_of(key)];
    if (slot.newest == kNone) {
      slot.key = key;
      ++keys_;
    }
    if (slot.newest == kNone || groups_[slot.newest].members == kGroup) {
      groups_.push_back({{}, {}, slot.newest, 0});
      slot.newest = static_cast<uint32_t>(groups_.size() - 1);
    }
    Group& group = groups_[slot.newest];
    group.extents[group.members] = memory.extent;
    group.memories[group.members++] = words_.size();
    words_.push_back(static_cast<uint32_t>(memory.words.size()));
    words_.insert(words_.end(), memory.words.begin(), memory.words.end());
  }

 private:
  static constexpr uint32_t kNone = ~uint32_t{0};
  static constexpr size_t kFirstSlots = 1024;
  static constexpr size_t kGroup = 3;  // two cache lines
  struct Slot {
    uint64_t key = 0;
    uint32_t newest = kNone;
  };
  struct alignas(64) Group {
    std::array<MemoryModel::Extent, kGroup> extents;
    std::array<size_t, kGroup> memories;  // from where on in `words_`: how many, and they
    uint32_t older;
    uint32_t members;
  };

  size_t slot_of(uint64_t key) const {
    size_t i = key & (slots_.size() - 1);
    while (slots_[i].newest != kNone && slots_[i].key != key) i = (i + 1) & (slots_.size() - 1);
    return i;
  }
  void grow() {
    std::vector<Slot> old(2 * slots_.size());
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.newest != kNone) slots_[slot_of(slot.key)] = slot;
    }
  }

  std::vector<Slot> slots_;
  size_t keys_ = 0;
  std::vector<Group> groups_;
  std::vector<uint32_t> words_;
};

}  // namespace ringer::sim
