// SPDX-License-Identifier: Apache-2.0
#include "nic_move.hpp"

#include <atomic>
#include <cstring>

#include <ringer/mlx5/wqe.hpp>

namespace ringer::sim {

namespace {

template <class T>
void move_word(uint8_t* to, const uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  std::atomic_ref(*reinterpret_cast<T*>(to)).store(value, std::memory_order_release);
}

template <class T, class Update>
T atomic_update(uint8_t* at, Update&& update) {
  std::atomic_ref<T> word(*reinterpret_cast<T*>(at));
  T before = word.load(std::memory_order_relaxed);
  while (!word.compare_exchange_weak(before, update(before), std::memory_order_acq_rel,
                                     std::memory_order_relaxed)) {
  }
  return before;
}

// Adds field by field: `boundary` has the top bit of each field set, where the carry must stop.
template <class T>
T masked_add(T value, T addend, T boundary) {
  return static_cast<T>(((value & ~boundary) + (addend & ~boundary)) ^
                        ((value ^ addend) & boundary));
}

template <class T>
T masked_swap(T value, T compare, T swap, T compare_mask, T swap_mask) {
  const bool equal = ((value ^ compare) & compare_mask) == 0;
  return equal ? static_cast<T>((value & ~swap_mask) | (swap & swap_mask)) : value;
}

template <class Seg>
Seg segment_in(const uint8_t* operands, uint32_t position) {
  Seg seg;
  std::memcpy(&seg, operands + size_t{position} * 16, sizeof(seg));
  return seg;
}

uint64_t apply_4_bytes(uint8_t* word, bool is_add, const uint8_t* operands) {
  if (is_add) {
    const auto op = segment_in<mlx5::MaskedFetchAdd4Seg>(operands, 0);
    return atomic_update<uint32_t>(
        word, [&](uint32_t v) { return masked_add(v, op.add.value(), op.boundary.value()); });
  }
  const auto op = segment_in<mlx5::MaskedCompareSwap4Seg>(operands, 0);
  return atomic_update<uint32_t>(word, [&](uint32_t v) {
    return masked_swap(v, op.compare.value(), op.swap.value(), op.compare_mask.value(),
                       op.swap_mask.value());
  });
}

}  // namespace

void move_bytes(uint8_t* to, const uint8_t* from, uint64_t bytes) {
  if (bytes == 0) return;  // an empty message may come without an address
  if (bytes == 8 && reinterpret_cast<uint64_t>(to) % 8 == 0) {
    move_word<uint64_t>(to, from);
  } else if (bytes == 4 && reinterpret_cast<uint64_t>(to) % 4 == 0) {
    move_word<uint32_t>(to, from);
  } else if (bytes == 64) {
    std::memmove(to, from, 64);
  } else {
    std::memmove(to, from, bytes);  // both ends may be one process's and overlap
  }
}

// 8 bytes: in a masked fetch-and-add the second word is the boundary; the masks of a masked
// compare-and-swap follow in a segment of their own.
uint64_t apply_atomic(uint8_t* word, const AtomicKind& kind, const uint8_t* operands) {
  if (kind.bytes == 4) return apply_4_bytes(word, kind.is_add, operands);
  const auto op = segment_in<mlx5::AtomicSeg>(operands, 0);
  const uint64_t first = op.swap_add.value();
  const uint64_t second = op.compare.value();
  mlx5::AtomicSeg masks{{~uint64_t{0}}, {~uint64_t{0}}};
  if (kind.operand_segments() == 2) masks = segment_in<mlx5::AtomicSeg>(operands, 1);
  return atomic_update<uint64_t>(word, [&](uint64_t v) {
    if (kind.is_add) return masked_add(v, first, kind.masked ? second : 0);
    return masked_swap(v, second, first, masks.compare.value(), masks.swap_add.value());
  });
}

}  // namespace ringer::sim
