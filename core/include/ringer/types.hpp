// SPDX-License-Identifier: Apache-2.0
// Big-endian integers, queue indices and memory references: the words every other file uses.
#pragma once

#include <cstddef>
#include <cstdint>

#include <ringer/config.hpp>

namespace ringer {

/// Queue pair number as the NIC knows it (24 bits).
using Qpn = uint32_t;

/// Bytes of one send-queue basic block. Every index of a send queue counts these.
inline constexpr uint32_t kWqebbBytes = 64;

RINGER_HD constexpr uint32_t byteswap32(uint32_t v) {
  if (!__builtin_is_constant_evaluated()) return RINGER_BYTESWAP32(v);
  return (v << 24) | ((v & 0xff00u) << 8) | ((v >> 8) & 0xff00u) | (v >> 24);
}

RINGER_HD constexpr uint64_t byteswap64(uint64_t v) {
  return (uint64_t{byteswap32(static_cast<uint32_t>(v))} << 32) |
         byteswap32(static_cast<uint32_t>(v >> 32));
}

RINGER_HD constexpr uint16_t byteswap16(uint16_t v) {
  return static_cast<uint16_t>((v << 8) | (v >> 8));
}

// A big-endian integer as it lies in NIC memory. `raw` is what a shared load or store moves.
struct Be16 {
  uint16_t raw;
  RINGER_HD static constexpr Be16 of(uint16_t v) { return {byteswap16(v)}; }
  RINGER_HD constexpr uint16_t value() const { return byteswap16(raw); }
};

struct Be32 {
  uint32_t raw;
  RINGER_HD static constexpr Be32 of(uint32_t v) { return {byteswap32(v)}; }
  RINGER_HD constexpr uint32_t value() const { return byteswap32(raw); }
};

struct Be64 {
  uint64_t raw;
  RINGER_HD static constexpr Be64 of(uint64_t v) { return {byteswap64(v)}; }
  RINGER_HD constexpr uint64_t value() const { return byteswap64(raw); }
};

// Index law: a head is a u64, monotonic, "one past the last". Hardware sees its low 16 bits. The
// slot of an index is `index & (wqebbs - 1)`. Two heads are compared as u64 and never wrap.

/// Ring slot of a 64-bit index; `wqebbs` is a power of two.
RINGER_HD constexpr uint32_t slot_of(uint64_t index, uint32_t wqebbs) {
  return static_cast<uint32_t>(index & (wqebbs - 1));
}

/// The smallest index >= `base` whose low 16 bits are `low`: how a 64-bit index is recovered from
/// hardware's 16 bits. With `base` a lower bound of the true index the result never exceeds it.
RINGER_HD constexpr uint64_t recover_index(uint64_t base, uint16_t low) {
  return base + static_cast<uint16_t>(low - static_cast<uint16_t>(base));
}

/// Memory of this rank that the NIC may read or write: virtual address and local key.
struct LocalRef {
  uint64_t address;
  uint32_t lkey;
};

/// Memory of a peer: virtual address at the peer and its remote key.
struct RemoteRef {
  uint64_t address;
  uint32_t rkey;
};

}  // namespace ringer
