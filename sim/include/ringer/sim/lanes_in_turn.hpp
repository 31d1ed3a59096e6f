// SPDX-License-Identifier: Apache-2.0
// What a warp's lanes do, one after the other: the part of the Warp concept that needs neither
// memory nor other warps.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include <ringer/float8.hpp>
#include <ringer/simt.hpp>

namespace ringer::sim {

class LanesInTurn {
 public:
  template <class F>
  void strided(uint64_t n, F&& f) const {
    for (uint64_t i = 0; i < n; ++i) f(i);
  }
  template <class F>
  void strided(WarpShare share, uint64_t n, F&& f) const {
    for (uint64_t i = share.warp; i < n; i += share.warps) f(i);
  }
  template <class F>
  void leader(F&& f) const {
    f();
  }
  template <class F>
  uint64_t sum(uint64_t n, F&& f) const {
    uint64_t total = 0;
    for (uint64_t i = 0; i < n; ++i) total += f(i);
    return total;
  }
  template <class F>
  uint32_t find(uint32_t n, F&& f) const {
    uint32_t i = 0;
    while (i < n && !f(i)) ++i;
    return i;
  }
  template <class F>
  auto broadcast(F&& f) const {
    return f();
  }
  template <uint32_t kParts, class Load, class Measure, class Emit>
  void tiles(WarpShare share, uint32_t n, Load&& load, Measure&& measure, Emit&& emit) const {
    for (uint32_t tile = share.warp; tile < n; tile += share.warps) {
      std::array<decltype(load(0u, 0u)), kParts> parts;
      for (uint32_t p = 0; p < kParts; ++p) parts[p] = load(tile, p);
      auto largest = measure(parts[0]);
      for (const auto& part : parts) largest = std::max(largest, measure(part));
      for (uint32_t p = 0; p < kParts; ++p) emit(tile, p, parts[p], largest);
    }
  }
  uint16_t e4m3_pair(float low, float high) const {
    return static_cast<uint16_t>(float_to_e4m3(low) | (float_to_e4m3(high) << 8));
  }
  void push_fence() const {}
  void push_wait() const {}

 protected:
  /// The bytes of a copy that a share of it moves.
  struct Piece {
    uint64_t first;
    uint64_t bytes;
  };
  static Piece piece_of(WarpShare share, uint64_t bytes) {
    const uint64_t chunks = bytes / 16;
    const uint64_t first = chunks * share.warp / share.warps * 16;
    return {first, chunks * (share.warp + 1) / share.warps * 16 - first};
  }
};

}  // namespace ringer::sim
