// SPDX-License-Identifier: Apache-2.0
// Random numbers that are the same with every compiler and standard library.
#pragma once

#include <cstdint>

namespace ringer::tools {

/// SplitMix64 (Steele, Lea, Flood 2014): small, and good enough to make test data.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t next() {
    state_ += 0x9e3779b97f4a7c15u;
    return mix(state_);
  }
  /// Uniform in [0, bound); the bias of below 2^-32 does not matter here.
  uint32_t below(uint32_t bound) { return static_cast<uint32_t>(((next() >> 32) * bound) >> 32); }
  /// Uniform in [0, 1).
  double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }

  static uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

 private:
  uint64_t state_;
};

}  // namespace ringer::tools
