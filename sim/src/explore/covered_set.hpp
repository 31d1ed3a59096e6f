// SPDX-License-Identifier: Apache-2.0
// States all of whose executions have been seen, to find those that can do no more than one of
// them.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include <ringer/sim/explore/digest.hpp>
#include <ringer/sim/explore/memory_model.hpp>

namespace ringer::sim {

/// Memories by what else tells states apart. Few of those under one key are looked at: their
/// extents lie side by side.
class CoveredSet {
 public:
  /// Whether `covers(one)` holds for one of the memories that were added with `key`, whose extent
  /// allows it.
  template <class F>
  bool any(uint64_t key, const MemoryModel::Extent& extent, F&& covers) const {
    for (uint32_t g = newest_.get(key); g != 0; g = groups_[g - 1].older) {
      const Group& group = groups_[g - 1];
      for (uint32_t i = 0; i < group.members; ++i) {
        if (!group.extents[i].may_cover(extent)) continue;
        const uint32_t* const memory = &words_[group.memories[i]];
        if (covers(std::span(memory + 1, *memory))) return true;
      }
    }
    return false;
  }

  void add(uint64_t key, const MemoryModel::Summary& memory) {
    uint32_t& newest = *newest_.insert(key).first;
    if (newest == 0 || groups_[newest - 1].members == kGroup) {
      groups_.push_back({{}, {}, newest, 0});
      newest = static_cast<uint32_t>(groups_.size());
    }
    Group& group = groups_[newest - 1];
    group.extents[group.members] = memory.extent;
    group.memories[group.members++] = words_.size();
    words_.push_back(static_cast<uint32_t>(memory.words.size()));
    words_.insert(words_.end(), memory.words.begin(), memory.words.end());
  }

 private:
  static constexpr size_t kGroup = 3;  // two cache lines
  struct alignas(64) Group {
    std::array<MemoryModel::Extent, kGroup> extents;
    std::array<size_t, kGroup> memories;  // from where on in `words_`: how many, and they
    uint32_t older;                       // its number, from 1 on; 0: there is none
    uint32_t members;
  };

  DigestMap<uint32_t> newest_;  // group of a key
  std::vector<Group> groups_;
  std::vector<uint32_t> words_;
};

}  // namespace ringer::sim
