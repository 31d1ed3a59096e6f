// SPDX-License-Identifier: Apache-2.0
// The contract between a kernel and its launch: what a warp can do. On CUDA these are the plain
// intrinsics; the host executor runs each warp as a fiber.
#pragma once

#include <concepts>
#include <cstdint>

#include <ringer/config.hpp>
#include <ringer/platform.hpp>

namespace ringer {

// What the concept passes for lambdas: nvcc takes none inside a requires-expression.
struct AnyCount {
  uint64_t operator()(uint64_t i) const;
};
struct AnyTarget {
  uint8_t* operator()(uint32_t i) const;
};
struct AnyValue {
  uint64_t operator()() const;
};

/// Which part of a loop a warp takes when `warps` warps work on it together.
struct WarpShare {
  uint32_t warp = 0;
  uint32_t warps = 1;
};

/// A kernel is a function of (platform, warp, arguments) and runs once per warp. Values outside the
/// lambdas are uniform over the warp; lanes exist only inside the lambdas.
/// - `strided(n, f)`: f(i) for all i < n, split over the lanes; with a share, over the lanes of all
///   warps of the share.
/// - `leader(f)`: f() on one lane; its effects are ordered by the next `sync`.
/// - `sum(n, f)`: the sum of f(i) for all i < n, to all lanes.
/// - `find(n, f)`: the smallest i < n with f(i), else n, to all lanes.
/// - `broadcast(f)`: f() on one lane, its value to all.
/// - `tiles<kParts>(share, n, load, measure, emit)`: for each tile t < n: part p < kParts is
///   load(t, p), all = the largest measure(part), then emit(t, p, part, all). kParts divides a
///   warp's lanes, and a part stays with its lane between load and emit.
/// - `copy(share, to, from, bytes)`: multiples of 16 bytes, both ends 16-byte aligned.
/// - `spread(share, n, to, from, bytes)`: the same to each to(i), i < n, that is not null.
/// - `e4m3_pair(low, high)`: two floats as E4M3, low byte first: see float8.hpp.
/// - `push_fence`, `push(to, from, bytes)`, `push_wait`: the same from the block's shared memory to
///   anywhere, asynchronously: every warp fences what it wrote to shared memory, a barrier follows,
///   one warp pushes; after its push_wait the bytes are written and the source is free.
/// - `sync`, `block_sync`, `grid_sync`: barriers, also memory fences of that scope.
/// - `group_sync(id, warps)`: named barrier `id` (0..14) among `warps` warps of this block.
/// - `shared(bytes)`: this block's shared memory, 16-byte aligned, the same for all its warps.
template <class W>
concept Warp = std::copyable<W> && requires(W w, uint32_t n, void* to, const void* from) {
  { w.warp_in_block() } -> std::same_as<uint32_t>;
  { w.warps_per_block() } -> std::same_as<uint32_t>;
  { w.block() } -> std::same_as<uint32_t>;
  { w.blocks() } -> std::same_as<uint32_t>;
  w.strided(uint64_t{n}, AnyCount{});
  w.strided(WarpShare{}, uint64_t{n}, AnyCount{});
  w.leader(AnyValue{});
  { w.sum(uint64_t{n}, AnyCount{}) } -> std::same_as<uint64_t>;
  { w.find(n, AnyPredicate{}) } -> std::same_as<uint32_t>;
  { w.broadcast(AnyValue{}) } -> std::same_as<uint64_t>;
  w.copy(WarpShare{}, to, from, uint64_t{n});
  w.spread(WarpShare{}, n, AnyTarget{}, from, uint64_t{n});
  { w.e4m3_pair(1.0f, 1.0f) } -> std::same_as<uint16_t>;
  w.push_fence();
  w.push(to, from, n);
  w.push_wait();
  w.sync();
  w.block_sync();
  w.group_sync(n, n);
  w.grid_sync();
  { w.shared(n) } -> std::same_as<void*>;
};

/// Index of this warp in the whole grid.
template <Warp W>
RINGER_HD uint32_t warp_in_grid(const W& w) {
  return w.block() * w.warps_per_block() + w.warp_in_block();
}

template <Warp W>
RINGER_HD uint32_t warps_in_grid(const W& w) {
  return w.blocks() * w.warps_per_block();
}

/// Index of this warp when neighbours lie in different blocks: a few items go to as many blocks.
template <Warp W>
RINGER_HD uint32_t warp_across_blocks(const W& w) {
  return w.warp_in_block() * w.blocks() + w.block();
}

}  // namespace ringer
