// SPDX-License-Identifier: Apache-2.0
// Memory in 16-byte pieces: the widest access of a lane, and the unit of a WQE's segments.
#pragma once

#include <cstdint>

#include <ringer/config.hpp>

namespace ringer {

/// What a lane moves at once.
struct alignas(16) Chunk16 {
  uint32_t words[4];
};

/// Loads a T at `from`, which is aligned like one, as one access.
template <class T>
RINGER_HD T load_as(const void* from) {
  if constexpr (kDeviceCode) {  // nvcc loses the assumption and would load bytes
    return *static_cast<const T*>(from);
  } else {
    T value;
    __builtin_memcpy(&value, __builtin_assume_aligned(from, alignof(T)), sizeof(T));
    return value;
  }
}

/// Stores a T at `to`, which is aligned like one, as one access.
template <class T>
RINGER_HD void store_as(void* to, const T& value) {
  if constexpr (kDeviceCode) {
    *static_cast<T*>(to) = value;
  } else {
    __builtin_memcpy(__builtin_assume_aligned(to, alignof(T)), &value, sizeof(T));
  }
}

}  // namespace ringer
