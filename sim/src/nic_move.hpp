// SPDX-License-Identifier: Apache-2.0
// How the NIC touches memory that others look at meanwhile.
#pragma once

#include <cstdint>

namespace ringer::sim {

/// A 4- or 8-byte aligned write lands in one piece and after everything before it, as PCIe gives it
/// to a poller: it may be a flag. Pairs with the poller's acquire.
void move_bytes(uint8_t* to, const uint8_t* from, uint64_t bytes);

struct AtomicKind {
  bool is_add;  ///< else compare and swap
  bool masked;
  uint32_t bytes;  ///< 4, masked only, or 8

  /// 16-byte segments of its operands.
  uint32_t operand_segments() const { return masked && !is_add && bytes == 8 ? 2 : 1; }
};

/// Applies an atomic whose operands are as in its WQE; returns the word before.
uint64_t apply_atomic(uint8_t* word, const AtomicKind& kind, const uint8_t* operands);

}  // namespace ringer::sim
