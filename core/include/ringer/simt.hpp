// SPDX-License-Identifier: Apache-2.0
// The contract between a kernel and its launch: what a warp can do. On CUDA these are the plain
// intrinsics; the host executor runs each warp as a fiber.
#pragma once

#include <concepts>
#include <cstdint>

#include <ringer/config.hpp>

namespace ringer {

/// A kernel is a function of (platform, warp, arguments) and runs once per warp. Values outside the
/// lambdas are uniform over the warp; lanes exist only inside `strided`.
/// - `strided(n, f)`: f(i) for all i < n, split over the lanes.
/// - `leader(f)`: f() on one lane; its effects are ordered by the next `sync`.
/// - `sum(n, f)`: the sum of f(i) for all i < n, to all lanes.
/// - `broadcast(f)`: f() on one lane, its value to all.
/// - `sync`, `block_sync`, `grid_sync`: barriers, also memory fences of that scope.
/// - `group_sync(id, warps)`: named barrier `id` (0..14) among `warps` warps of this block.
/// - `shared(bytes)`: this block's shared memory, zeroed at launch, the same for all its warps.
template <class W>
concept Warp = std::copyable<W> && requires(W w, uint32_t n) {
  { w.warp_in_block() } -> std::same_as<uint32_t>;
  { w.warps_per_block() } -> std::same_as<uint32_t>;
  { w.block() } -> std::same_as<uint32_t>;
  { w.blocks() } -> std::same_as<uint32_t>;
  w.strided(uint64_t{n}, [](uint64_t) {});
  w.leader([] {});
  {
    w.sum(uint64_t{n}, [](uint64_t i) { return i; })
    } -> std::same_as<uint64_t>;
  {
    w.broadcast([] { return uint64_t{}; })
    } -> std::same_as<uint64_t>;
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

}  // namespace ringer
