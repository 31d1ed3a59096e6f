// SPDX-License-Identifier: Apache-2.0
// Numbers for sequences of words: states in the millions are made of the same few parts.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include <ringer/sim/explore/digest.hpp>

namespace ringer::sim {

/// Equal sequences have the same number, as long as the table is there.
class SequenceTable {
 public:
  uint32_t number_of(std::span<const uint32_t> sequence) {
    if (4 * (entries_.size() + 1) > 3 * slots_.size()) grow();
    const uint64_t digest = digest_bytes(sequence.data(), sequence.size_bytes());
    uint32_t& slot = slots_[find(digest, sequence)];
    if (slot == kFree) {
      slot = static_cast<uint32_t>(entries_.size());
      entries_.push_back({digest, words_.size(), sequence.size()});
      words_.insert(words_.end(), sequence.begin(), sequence.end());
    }
    return slot;
  }

  /// Until the next number_of().
  std::span<const uint32_t> at(uint32_t number) const {
    return {words_.data() + entries_[number].first, entries_[number].words};
  }

 private:
  static constexpr uint32_t kFree = ~uint32_t{0};
  struct Entry {
    uint64_t digest;
    size_t first;
    size_t words;
  };

  size_t find(uint64_t digest, std::span<const uint32_t> sequence) const {
    const size_t mask = slots_.size() - 1;
    for (size_t i = digest & mask;; i = (i + 1) & mask) {
      if (slots_[i] == kFree) return i;
      if (entries_[slots_[i]].digest == digest && std::ranges::equal(at(slots_[i]), sequence)) {
        return i;
      }
    }
  }
  void grow() {
    slots_.assign(slots_.empty() ? 1024 : 2 * slots_.size(), kFree);
    for (uint32_t number = 0; number < entries_.size(); ++number) {
      slots_[find(entries_[number].digest, at(number))] = number;
    }
  }

  std::vector<uint32_t> words_;
  std::vector<Entry> entries_;
  std::vector<uint32_t> slots_;
};

}  // namespace ringer::sim
