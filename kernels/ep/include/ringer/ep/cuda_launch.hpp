// SPDX-License-Identifier: Apache-2.0
// Launches dispatch and combine on a GPU. Host code: no CUDA header needed.
#pragma once

#include <cstdint>

#include <ringer/ep/args.hpp>

struct CUstream_st;  // what cudaStream_t points to

namespace ringer::ep {

enum class Phases : uint32_t { both, send, receive };

/// All blocks of a launch must be resident at once, together with those of every rank that shares
/// the GPU, since they wait for each other: at most one block a multiprocessor.
struct LaunchShape {
  uint32_t blocks;
  uint32_t warps_per_block;  ///< 1 to kMaxCudaWarps
};
inline constexpr uint32_t kMaxCudaWarps = 16;

/// The widest launch of one rank's kernels on the current GPU, if `ranks_per_gpu` share it.
LaunchShape widest_launch(const Layout& layout, uint32_t ranks_per_gpu);

/// Enqueues a kernel on `stream` of the current GPU. May be captured into a graph: epochs advance
/// on the device. Errors: std::runtime_error with the CUDA call and its error.
void launch_dispatch(const DispatchArgs& args, Phases phases, const LaunchShape& shape,
                     CUstream_st* stream);
void launch_combine(const CombineArgs& args, Phases phases, const LaunchShape& shape,
                    CUstream_st* stream);

}  // namespace ringer::ep
