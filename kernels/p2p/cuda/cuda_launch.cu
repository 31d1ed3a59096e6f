// SPDX-License-Identifier: Apache-2.0
#include <stdexcept>
#include <string>

#include <cuda_runtime.h>

#include <ringer/cuda_platform.cuh>
#include <ringer/cuda_warp.cuh>
#include <ringer/p2p/cuda_launch.hpp>

namespace ringer::p2p {

namespace {

// A block of more warps leaves each fewer registers than a post needs: those spill, and every fence
// makes what has spilled costly.
constexpr uint32_t kNarrowWarps = 16;

template <class Policy, uint32_t kWarps>
__global__ void __launch_bounds__(kWarps* CudaWarp::kLanes, 1)
    post_kernel(const __grid_constant__ PostArgs args) {
  post<Policy>(CudaPlatform{}, CudaWarp{}, args);
}

template <class Policy>
__global__ void ping_pong_kernel(const __grid_constant__ PingPongArgs args) {
  ping_pong<Policy>(CudaPlatform{}, CudaWarp{}, args);
}

// A server waits for the posters of all blocks.
template <class Kernel>
void require_resident(Kernel kernel, uint32_t blocks, uint32_t threads) {
  int device = 0, processors = 0, fit = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
  cudaOccupancyMaxActiveBlocksPerMultiprocessor(&fit, kernel, static_cast<int>(threads), 0);
  const auto resident = static_cast<uint32_t>(processors) * static_cast<uint32_t>(fit);
  if (blocks > resident) {
    throw std::invalid_argument("a server a block needs all blocks at once; of " +
                                std::to_string(blocks) + " the GPU takes " +
                                std::to_string(resident));
  }
}

void check_launch() {
  const cudaError_t error = cudaGetLastError();
  if (error == cudaSuccess) return;
  throw std::runtime_error(std::string("kernel launch: ") + cudaGetErrorString(error));
}

}  // namespace

void launch_post(const PostArgs& args, const PolicyChoice& policy, const PostShape& shape,
                 CUstream_st* stream) {
  with_policy(policy, [&]<class Policy>(Policy) {
    const uint32_t warps = shape.warps_per_block + kServers<Policy>;
    const auto kernel = warps <= kNarrowWarps ? post_kernel<Policy, kNarrowWarps>
                                              : post_kernel<Policy, kMaxPostWarps>;
    if (kServers<Policy> != 0) require_resident(kernel, shape.blocks, warps * CudaWarp::kLanes);
    kernel<<<shape.blocks, warps * CudaWarp::kLanes, 0, stream>>>(args);
  });
  check_launch();
}

void launch_ping_pong(const PingPongArgs& args, RecordOrder record, CUstream_st* stream) {
  with_record(record, [&]<class Policy>(Policy) {
    ping_pong_kernel<Policy><<<2, CudaWarp::kLanes, 0, stream>>>(args);
  });
  check_launch();
}

}  // namespace ringer::p2p
