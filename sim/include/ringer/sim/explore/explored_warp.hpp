// SPDX-License-Identifier: Apache-2.0
// Warps of explored kernels: each is one actor; barriers are words of the memory model, bulk copies
// plain data of it.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

#include <ringer/bytes.hpp>
#include <ringer/float8.hpp>
#include <ringer/sim/explore/sim_platform.hpp>
#include <ringer/simt.hpp>

namespace ringer::sim {

/// What the warps of one launch share beside what they are given.
class ExploredGrid {
 public:
  struct Barrier {
    uint32_t arrived = 0;
    uint32_t generation = 0;
  };
  static constexpr uint32_t kNamedBarriers = 15;
  struct Block {
    Barrier all;
    Barrier named[kNamedBarriers];
    std::vector<Chunk16> shared;
  };

  ExploredGrid(uint32_t blocks, uint32_t warps_per_block, uint32_t shared_bytes)
      : warps_per_block_(warps_per_block), blocks_(blocks) {
    for (Block& block : blocks_) block.shared.resize((shared_bytes + 15) / 16);
  }

  uint32_t blocks() const { return static_cast<uint32_t>(blocks_.size()); }
  uint32_t warps_per_block() const { return warps_per_block_; }
  Block& block(uint32_t index) { return blocks_[index]; }
  Barrier& all() { return all_; }

 private:
  uint32_t warps_per_block_;
  Barrier all_;
  std::vector<Block> blocks_;
};

/// Lanes run one after the other: what they do without a barrier between them is not told apart.
class ExploredWarp {
 public:
  ExploredWarp(const SimPlatform& p, ExploredGrid& grid, uint32_t block, uint32_t warp)
      : p_(p), grid_(&grid), block_(block), warp_(warp) {}

  uint32_t warp_in_block() const { return warp_; }
  uint32_t warps_per_block() const { return grid_->warps_per_block(); }
  uint32_t block() const { return block_; }
  uint32_t blocks() const { return grid_->blocks(); }

  template <class F>
  void strided(uint64_t n, F&& f) const {
    strided({}, n, f);
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
  void copy(WarpShare share, void* to, const void* from, uint64_t bytes) const {
    const uint64_t chunks = bytes / 16;
    const uint64_t first = chunks * share.warp / share.warps * 16;
    const uint64_t end = chunks * (share.warp + 1) / share.warps * 16;
    if (end > first)
      move(static_cast<uint8_t*>(to) + first, static_cast<const uint8_t*>(from) + first,
           end - first);
  }
  template <class To>
  void spread(WarpShare share, uint32_t n, To&& to, const void* from, uint64_t bytes) const {
    for (uint32_t i = 0; i < n; ++i) {
      if (uint8_t* target = to(i); target != nullptr) copy(share, target, from, bytes);
    }
  }
  uint16_t e4m3_pair(float low, float high) const {
    return static_cast<uint16_t>(float_to_e4m3(low) | (float_to_e4m3(high) << 8));
  }
  void push_fence() const {}
  void push(void* to, const void* from, uint32_t bytes) const { move(to, from, bytes); }
  void push_wait() const {}
  void sync() const {}
  void block_sync() const { arrive<Scope::cta>(grid_->block(block_).all, warps_per_block()); }
  void group_sync(uint32_t id, uint32_t warps) const {
    arrive<Scope::cta>(grid_->block(block_).named[id], warps);
  }
  void grid_sync() const { arrive<Scope::gpu>(grid_->all(), blocks() * warps_per_block()); }
  void* shared(uint32_t) const { return grid_->block(block_).shared.data(); }

 private:
  void move(void* to, const void* from, uint64_t bytes) const {
    p_.read_data(from, bytes);
    p_.write_data(to, bytes);
    std::memcpy(to, from, bytes);
  }

  // What all have done before is seen by all after it.
  template <Scope kScope>
  void arrive(ExploredGrid::Barrier& barrier, uint32_t expected) const {
    const uint32_t generation = p_.load<kScope, Order::relaxed>(&barrier.generation);
    if (p_.fetch_add<kScope, Order::acq_rel>(&barrier.arrived, 1u) + 1 == expected) {
      p_.store<kScope, Order::relaxed>(&barrier.arrived, 0u);
      p_.store<kScope, Order::release>(&barrier.generation, generation + 1);
      return;
    }
    p_.wait_until<kScope, Order::acquire>(
        &barrier.generation, [=](uint32_t now) { return now != generation; }, {}, "barrier");
  }

  SimPlatform p_;
  ExploredGrid* grid_;
  uint32_t block_;
  uint32_t warp_;
};

static_assert(Warp<ExploredWarp>);

}  // namespace ringer::sim
