// SPDX-License-Identifier: Apache-2.0
// Numbers for tuples of words: states in the millions are made of the same few parts.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

namespace ringer::sim {

/// Equal tuples have the same number, as long as the table is there. Open addressing, at most half
/// full; each slot has its tuple beside it.
class TupleTable {
 public:
  /// For tuples of so many words.
  explicit TupleTable(size_t words) : words_(words) {}

  static constexpr uint32_t kNone = ~uint32_t{0};

  /// The next number for a tuple that has none yet.
  uint32_t number_of(const uint64_t* tuple) {
    if (2 * (size_ + 1) > slots_) grow();
    uint64_t* const slot = &table_[slot_of(tuple) * (words_ + 1)];
    if (slot[words_] == 0) {
      std::copy_n(tuple, words_, slot);
      slot[words_] = ++size_;
      tuples_.insert(tuples_.end(), tuple, tuple + words_);
    }
    return static_cast<uint32_t>(slot[words_] - 1);
  }

  /// kNone for a tuple that has no number.
  uint32_t find_number(const uint64_t* tuple) const {
    return slots_ == 0 ? kNone
                       : static_cast<uint32_t>(table_[slot_of(tuple) * (words_ + 1) + words_] - 1);
  }
  uint32_t size() const { return static_cast<uint32_t>(size_); }

  /// Until the next number_of().
  const uint64_t* at(uint32_t number) const { return tuples_.data() + size_t{number} * words_; }

 private:
  size_t first_slot(const uint64_t* tuple) const {
    // Each word has a multiplier of its own, so that none waits for another one's product.
    uint64_t hash = 0;
    uint64_t factor = 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < words_; ++i, factor = factor << 7 | factor >> 57) {
      hash += (tuple[i] ^ tuple[i] >> 32) * factor;
    }
    return (hash ^ hash >> 29) * 0xff51afd7ed558ccdu >> shift_;
  }
  bool same(const uint64_t* a, const uint64_t* b) const {
    uint64_t differ = 0;
    for (size_t i = 0; i < words_; ++i) differ |= a[i] ^ b[i];
    return differ == 0;
  }
  // The tuple's, or a free one.
  size_t slot_of(const uint64_t* tuple) const {
    for (size_t i = first_slot(tuple);; i = (i + 1) & (slots_ - 1)) {
      const uint64_t* const slot = &table_[i * (words_ + 1)];
      if (slot[words_] == 0 || same(tuple, slot)) return i;
    }
  }
  void grow() {
    shift_ = slots_ == 0 ? 54 : shift_ - 1;
    slots_ = size_t{1} << (64 - shift_);
    table_.assign(slots_ * (words_ + 1), 0);
    for (uint32_t number = 0; number < size_; ++number) {
      uint64_t* const slot = &table_[slot_of(at(number)) * (words_ + 1)];
      std::copy_n(at(number), words_, slot);
      slot[words_] = number + 1;
    }
  }

  size_t words_;
  size_t slots_ = 0;
  uint32_t shift_ = 0;
  size_t size_ = 0;
  std::vector<uint64_t> table_;   // a tuple, and its number + 1 or 0 for none
  std::vector<uint64_t> tuples_;  // by number
};

/// Numbers for addresses: few, and asked for again and again.
class AddressTable {
 public:
  static constexpr uint32_t kNone = TupleTable::kNone;

  /// The next number for an address that has none yet.
  uint32_t number_of(uint64_t address) {
    const uint32_t known = find_number(address);
    return known != kNone ? known : table_.number_of(&address);
  }
  /// kNone for an address that has no number.
  uint32_t find_number(uint64_t address) {
    Recent& recent = recent_[slot_of(address)];
    if (recent.address != address || recent.number == kNone) {
      recent = {address, table_.find_number(&address)};
    }
    return recent.number;
  }
  uint32_t size() const { return table_.size(); }
  uint64_t at(uint32_t number) const { return *table_.at(number); }

 private:
  struct Recent {
    uint64_t address = 0;
    uint32_t number = kNone;
  };
  static size_t slot_of(uint64_t address) { return address * 0x9e3779b97f4a7c15u >> 58; }

  TupleTable table_{1};
  std::array<Recent, 64> recent_;
};

}  // namespace ringer::sim
