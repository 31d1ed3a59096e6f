// SPDX-License-Identifier: Apache-2.0
// The warp of a kernel on a GPU: see the Warp concept. Launch with a multiple of 32 threads in x.
#pragma once

#include <cooperative_groups.h>

#include <ringer/bytes.hpp>
#include <ringer/float8.hpp>
#include <ringer/simt.hpp>

namespace ringer {

class CudaWarp {
 public:
  static constexpr uint32_t kLanes = 32;

  __device__ uint32_t warp_in_block() const {
    // Through a shuffle, so that the compiler knows it to be uniform.
    return __shfl_sync(kAll, threadIdx.x / kLanes, 0);
  }
  __device__ uint32_t warps_per_block() const { return blockDim.x / kLanes; }
  __device__ uint32_t block() const { return blockIdx.x; }
  __device__ uint32_t blocks() const { return gridDim.x; }

  template <class F>
  __device__ void strided(uint64_t n, F&& f) const {
    strided(WarpShare{}, n, f);
  }
  template <class F>
  __device__ void strided(WarpShare share, uint64_t n, F&& f) const {
    for (uint64_t i = share.warp * kLanes + lane(); i < n; i += share.warps * kLanes) f(i);
  }

  template <class F>
  __device__ void leader(F&& f) const {
    if (lane() == 0) f();
  }

  template <class F>
  __device__ uint64_t sum(uint64_t n, F&& f) const {
    uint64_t total = 0;
#pragma unroll 4
    for (uint64_t i = lane(); i < n; i += kLanes) total += f(i);
    for (uint32_t step = kLanes / 2; step > 0; step /= 2) {
      total += __shfl_xor_sync(kAll, total, step);
    }
    return total;
  }

  template <class F>
  __device__ uint32_t find(uint32_t n, F&& f) const {
    for (uint32_t first = 0; first < n; first += kLanes) {
      const uint32_t i = first + lane();
      const uint32_t found = __ballot_sync(kAll, i < n && f(i));
      if (found != 0) return first + static_cast<uint32_t>(__ffs(static_cast<int>(found))) - 1;
    }
    return n;
  }

  template <class F>
  __device__ auto broadcast(F&& f) const -> decltype(f()) {
    decltype(f()) value{};
    if (lane() == 0) value = f();
    return __shfl_sync(kAll, value, 0);
  }

  template <uint32_t kParts, class Load, class Measure, class Emit>
  __device__ void tiles(WarpShare share, uint32_t n, Load&& load, Measure&& measure,
                        Emit&& emit) const {
    static_assert(kLanes % kParts == 0);
    constexpr uint32_t kTiles = kLanes / kParts;  // at once
    constexpr uint32_t kInFlight = 4;             // loads of a lane before its first store
    const uint32_t part = lane() % kParts;
    const uint32_t step = share.warps * kTiles;
    for (uint32_t first = share.warp * kTiles; first < n; first += kInFlight * step) {
      decltype(load(0u, 0u)) pieces[kInFlight];
      // The last round's idle lanes repeat a tile: all take part in the shuffles.
#pragma unroll
      for (uint32_t j = 0; j < kInFlight; ++j) {
        const uint32_t tile = first + j * step + lane() / kParts;
        pieces[j] = load(tile < n ? tile : n - 1, part);
      }
#pragma unroll
      for (uint32_t j = 0; j < kInFlight; ++j) {
        const uint32_t tile = first + j * step + lane() / kParts;
        auto largest = measure(pieces[j]);
        for (uint32_t far = kParts / 2; far > 0; far /= 2) {
          const auto other = __shfl_xor_sync(kAll, largest, far);
          if (other > largest) largest = other;
        }
        if (tile < n) emit(tile, part, pieces[j], largest);
      }
    }
  }

  __device__ void copy(WarpShare share, void* to, const void* from, uint64_t bytes) const {
    constexpr uint32_t kInFlight = 8;  // loads of a lane before its first store
    auto* out = static_cast<uint8_t*>(to);
    const auto* in = static_cast<const uint8_t*>(from);
    const auto chunks = static_cast<uint32_t>(bytes / 16);
    const uint32_t step = share.warps * kLanes;
    for (uint32_t i = share.warp * kLanes + lane(); i < chunks; i += kInFlight * step) {
      Chunk16 held[kInFlight];
#pragma unroll
      for (uint32_t j = 0; j < kInFlight; ++j) {
        const uint32_t at = i + j * step;
        if (at < chunks) held[j] = load_as<Chunk16>(in + uint64_t{at} * 16);
      }
#pragma unroll
      for (uint32_t j = 0; j < kInFlight; ++j) {
        const uint32_t at = i + j * step;
        if (at < chunks) store_as<Chunk16>(out + uint64_t{at} * 16, held[j]);
      }
    }
  }

  template <class To>
  __device__ void spread(WarpShare share, uint32_t n, To&& to, const void* from,
                         uint64_t bytes) const {
    constexpr uint32_t kInFlight = 4;  // loads of a lane before its first store
    const auto* in = static_cast<const uint8_t*>(from);
    const auto chunks = static_cast<uint32_t>(bytes / 16);
    const uint32_t step = share.warps * kLanes;
    for (uint32_t first = share.warp * kLanes + lane(); first < chunks; first += kInFlight * step) {
      Chunk16 held[kInFlight];
#pragma unroll
      for (uint32_t j = 0; j < kInFlight; ++j) {
        const uint32_t at = first + j * step;
        if (at < chunks) held[j] = load_as<Chunk16>(in + uint64_t{at} * 16);
      }
      for (uint32_t i = 0; i < n; ++i) {
        uint8_t* target = to(i);
        if (target == nullptr) continue;
#pragma unroll
        for (uint32_t j = 0; j < kInFlight; ++j) {
          const uint32_t at = first + j * step;
          if (at < chunks) store_as<Chunk16>(target + uint64_t{at} * 16, held[j]);
        }
      }
    }
  }

  __device__ uint16_t e4m3_pair(float low, float high) const {
#if __CUDA_ARCH__ >= 890
    uint16_t pair;
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(high), "f"(low));
    return pair;
#else
    return static_cast<uint16_t>(float_to_e4m3(low) | (float_to_e4m3(high) << 8));
#endif
  }

#if __CUDA_ARCH__ >= 900
  // The bulk copy engine reads shared memory through its own proxy.
  __device__ void push_fence() const {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  }
  __device__ void push(void* to, const void* from, uint32_t bytes) const {
    if (lane() == 0) {
      asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;"
                   :
                   : "l"(__cvta_generic_to_global(to)),
                     "r"(static_cast<uint32_t>(__cvta_generic_to_shared(from))), "r"(bytes)
                   : "memory");
      asm volatile("cp.async.bulk.commit_group;" ::: "memory");
    }
  }
  __device__ void push_wait() const {
    if (lane() == 0) asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
    __syncwarp();
  }
#else
  __device__ void push_fence() const {}
  __device__ void push(void* to, const void* from, uint32_t bytes) const {
    copy(WarpShare{}, to, from, bytes);
  }
  __device__ void push_wait() const { __syncwarp(); }
#endif

  __device__ void sync() const { __syncwarp(); }
  __device__ void block_sync() const { __syncthreads(); }
  __device__ void group_sync(uint32_t id, uint32_t warps) const {
    // Barrier 0 is block_sync's.
    asm volatile("barrier.sync %0, %1;" : : "r"(id + 1), "r"(warps * kLanes) : "memory");
  }
  __device__ void grid_sync() const { cooperative_groups::this_grid().sync(); }

  __device__ void* shared(uint32_t /*bytes*/) const {
    extern __shared__ uint4 ringer_shared[];
    return ringer_shared;
  }

 private:
  static constexpr uint32_t kAll = 0xffffffffu;
  __device__ static uint32_t lane() { return threadIdx.x % kLanes; }
};

static_assert(Warp<CudaWarp>);

}  // namespace ringer
