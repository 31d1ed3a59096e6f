// SPDX-License-Identifier: Apache-2.0
// Digests of states, and what is known of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

namespace ringer::sim {

/// One more word into a digest (two rounds of the 64-bit finalizer of MurmurHash3).
inline uint64_t mix(uint64_t digest, uint64_t word) {
  uint64_t x = digest * 0x9e3779b97f4a7c15u + word;
  x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdu;
  x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53u;
  return x ^ (x >> 33);
}

/// Three chains of multiplications, none of which waits for another one; both halves of each
/// product count.
inline uint64_t digest_bytes(const void* data, size_t bytes) {
  __extension__ using Product = unsigned __int128;
  constexpr uint64_t kSalts[] = {0xa0761d6478bd642fu, 0xe7037ed1a0b428dbu, 0x8ebc6af09c88c6e3u};
  constexpr size_t kChains = 3;
  constexpr size_t kStep = 16;  // bytes
  const auto* at = static_cast<const uint8_t*>(data);
  // No small numbers: a word that is equal to its chain would hide the word before it.
  uint64_t chains[kChains] = {mix(kSalts[0], bytes), 0x589965cc75374cc3u, 0x1d8e4e27c47d124fu};
  const auto take = [&](size_t chain, size_t n) {
    uint64_t words[2] = {};
    std::memcpy(words, at, n);
    const Product product = Product{words[0] ^ kSalts[chain]} * (words[1] ^ chains[chain]);
    chains[chain] = static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
    at += n;
    bytes -= n;
  };
  while (bytes >= kChains * kStep) {
    for (size_t chain = 0; chain < kChains; ++chain) take(chain, kStep);
  }
  while (bytes >= kStep) take(0, kStep);
  take(0, bytes);
  return mix(chains[0], chains[1] ^ (chains[2] << 32 | chains[2] >> 32));
}

/// Values of digests: open addressing, at most three quarters full.
template <class T>
class DigestMap {
 public:
  DigestMap() : slots_(kFirstSlots) {}

  /// The digest's value, and whether it is new. Valid until the next insert().
  std::pair<T*, bool> insert(uint64_t digest) {
    digest = marked(digest);
    if (4 * (size_ + 1) > 3 * slots_.size()) grow();
    Slot& slot = slots_[slot_of(digest)];
    const bool fresh = slot.digest != digest;
    if (fresh) {
      slot.digest = digest;
      ++size_;
    }
    return {&slot.value, fresh};
  }
  /// Of a digest that is there.
  T& at(uint64_t digest) { return slots_[slot_of(marked(digest))].value; }
  /// T{} for a digest that is not there.
  T get(uint64_t digest) const { return slots_[slot_of(marked(digest))].value; }
  size_t size() const { return size_; }

 private:
  static constexpr size_t kFirstSlots = 1024;
  struct Slot {
    uint64_t digest = 0;  // 0: free
    T value{};
  };

  static uint64_t marked(uint64_t digest) { return digest == 0 ? 1 : digest; }
  // The digest's, or a free one.
  size_t slot_of(uint64_t digest) const {
    size_t i = digest & (slots_.size() - 1);
    while (slots_[i].digest != 0 && slots_[i].digest != digest) i = (i + 1) & (slots_.size() - 1);
    return i;
  }
  void grow() {
    std::vector<Slot> old(2 * slots_.size());
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.digest != 0) slots_[slot_of(slot.digest)] = slot;
    }
  }

  std::vector<Slot> slots_;
  size_t size_ = 0;
};

}  // namespace ringer::sim
