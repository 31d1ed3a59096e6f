// SPDX-License-Identifier: Apache-2.0
// Who accesses what: learned on the way, by it a search leaves out what nobody asks for any more.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace ringer::sim {

/// Sets of actors, one bit each; accesses in any execution so far.
struct MemoryUse {
  static constexpr uint32_t kScopes = 3;

  /// A shared word.
  struct Word {
    uint64_t stores = 0;  ///< has stored, or tried to
    uint64_t loads = 0;   ///< may have been told an old value: by a load, or a compare_exchange
    std::array<uint64_t, kScopes> reads{};  ///< has read at this scope

    uint64_t readers() const { return reads[0] | reads[1] | reads[2]; }
    bool operator==(const Word&) const = default;
  };
  /// A cell of plain data.
  struct Cell {
    uint64_t reads = 0;
    uint64_t writes = 0;
    bool operator==(const Cell&) const = default;
  };

  Word word(size_t location) const { return location < words.size() ? words[location] : Word{}; }
  Cell cell(size_t number) const { return number < cells.size() ? cells[number] : Cell{}; }
  bool operator==(const MemoryUse&) const = default;

  std::vector<Word> words;
  std::vector<Cell> cells;
};

}  // namespace ringer::sim
