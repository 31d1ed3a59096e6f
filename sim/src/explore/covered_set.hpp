// SPDX-License-Identifier: Apache-2.0
// States all of whose executions have been seen, to find those that can do no more than one of
// them.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace ringer::sim {

/// Memories by what else tells states apart.
class CoveredSet {
 public:
  /// Whether `covers(one)` holds for one of the memories that were added with `key`.
  template <class F>
  bool any(uint64_t key, F&& covers) const {
    const auto found = newest_.find(key);
    if (found == newest_.end()) return false;
    for (uint32_t e = found->second; e != kNone; e = entries_[e].next) {
      if (covers(std::span(&words_[entries_[e].at], entries_[e].words))) return true;
    }
    return false;
  }

  void add(uint64_t key, std::span<const uint32_t> memory) {
    const auto number = static_cast<uint32_t>(entries_.size());
    const auto [found, fresh] = newest_.try_emplace(key, number);
    entries_.push_back(
        {words_.size(), static_cast<uint32_t>(memory.size()), fresh ? kNone : found->second});
    found->second = number;
    words_.insert(words_.end(), memory.begin(), memory.end());
  }

 private:
  static constexpr uint32_t kNone = ~uint32_t{0};
  struct Entry {
    size_t at;
    uint32_t words;
    uint32_t next;
  };
  std::unordered_map<uint64_t, uint32_t> newest_;
  std::vector<Entry> entries_;
  std::vector<uint32_t> words_;
};

}  // namespace ringer::sim
