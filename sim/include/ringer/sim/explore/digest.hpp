// SPDX-License-Identifier: Apache-2.0
// Digests of states, and a set of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace ringer::sim {

/// One more word into a digest (two rounds of the 64-bit finalizer of MurmurHash3).
inline uint64_t mix(uint64_t digest, uint64_t word) {
  uint64_t x = digest * 0x9e3779b97f4a7c15u + word;
  x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdu;
  x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53u;
  return x ^ (x >> 33);
}

inline uint64_t digest_bytes(const void* data, size_t bytes) {
  constexpr uint64_t kFactor = 0x9e3779b97f4a7c15u;
  constexpr size_t kLanes = 8;  // so that no multiplication waits for another one
  const auto* at = static_cast<const uint8_t*>(data);
  uint64_t lanes[kLanes] = {bytes, 1, 2, 3, 4, 5, 6, 7};
  const auto take = [&](uint64_t& lane, size_t n) {
    uint64_t word = 0;
    std::memcpy(&word, at, n);
    lane = (lane ^ word) * kFactor;
    lane ^= lane >> 32;
    at += n;
    bytes -= n;
  };
  while (bytes >= 8 * kLanes) {
    for (uint64_t& lane : lanes) take(lane, 8);
  }
  while (bytes >= 8) take(lanes[0], 8);
  take(lanes[0], bytes);
  uint64_t digest = lanes[0];
  for (size_t lane = 1; lane < kLanes; ++lane) digest = mix(digest, lanes[lane]);
  return digest;
}

/// A set of digests: open addressing, at most three quarters full.
class DigestSet {
 public:
  /// True if it was not there.
  bool insert(uint64_t digest) {
    if (digest == 0) digest = 1;  // 0 marks a free slot
    if (4 * (size_ + 1) > 3 * slots_.size()) grow();
    uint64_t& slot = find(digest);
    if (slot == digest) return false;
    slot = digest;
    ++size_;
    return true;
  }
  size_t size() const { return size_; }

 private:
  uint64_t& find(uint64_t digest) {
    size_t i = digest & (slots_.size() - 1);
    while (slots_[i] != 0 && slots_[i] != digest) i = (i + 1) & (slots_.size() - 1);
    return slots_[i];
  }
  void grow() {
    std::vector<uint64_t> old(slots_.empty() ? 1024 : 2 * slots_.size());
    old.swap(slots_);
    for (const uint64_t digest : old) {
      if (digest != 0) find(digest) = digest;
    }
  }

  std::vector<uint64_t> slots_;
  size_t size_ = 0;
};

}  // namespace ringer::sim
