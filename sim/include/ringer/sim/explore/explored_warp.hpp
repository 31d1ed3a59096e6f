// SPDX-License-Identifier: Apache-2.0
// Warps of explored kernels: each is one actor; barriers are words of the memory model, bulk copies
// plain data of it.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include <ringer/bytes.hpp>
#include <ringer/sim/explore/sim_platform.hpp>
#include <ringer/sim/lanes_in_turn.hpp>
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
class ExploredWarp : public LanesInTurn {
 public:
  ExploredWarp(const SimPlatform& p, ExploredGrid& grid, uint32_t block, uint32_t warp)
      : p_(p), grid_(&grid), block_(block), warp_(warp) {}

  uint32_t warp_in_block() const { return warp_; }
  uint32_t warps_per_block() const { return grid_->warps_per_block(); }
  uint32_t block() const { return block_; }
  uint32_t blocks() const { return grid_->blocks(); }

  void copy(WarpShare share, void* to, const void* from, uint64_t bytes) const {
    const Piece piece = piece_of(share, bytes);
    if (piece.bytes == 0) return;
    move(static_cast<uint8_t*>(to) + piece.first, static_cast<const uint8_t*>(from) + piece.first,
         piece.bytes);
  }
  template <class To>
  void spread(WarpShare share, uint32_t n, To&& to, const void* from, uint64_t bytes) const {
    for (uint32_t i = 0; i < n; ++i) {
      if (uint8_t* target = to(i); target != nullptr) copy(share, target, from, bytes);
    }
  }
  void push(void* to, const void* from, uint32_t bytes) const { move(to, from, bytes); }
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
