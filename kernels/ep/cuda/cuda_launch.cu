// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <stdexcept>
#include <string>

#include <cuda_runtime.h>

#include <ringer/cuda_platform.cuh>
#include <ringer/cuda_warp.cuh>
#include <ringer/ep/combine.hpp>
#include <ringer/ep/cuda_launch.hpp>
#include <ringer/ep/dispatch.hpp>

namespace ringer::ep {

namespace {

constexpr uint32_t kMaxThreads = kMaxCudaWarps * CudaWarp::kLanes;

template <Phases kPhases>
__global__ void __launch_bounds__(kMaxThreads, 1)
    dispatch_kernel(const __grid_constant__ DispatchArgs args) {
  if constexpr (kPhases == Phases::both) dispatch(CudaPlatform{}, CudaWarp{}, args);
  if constexpr (kPhases == Phases::send) dispatch_send(CudaPlatform{}, CudaWarp{}, args);
  if constexpr (kPhases == Phases::receive) dispatch_receive(CudaPlatform{}, CudaWarp{}, args);
}

template <Phases kPhases>
__global__ void __launch_bounds__(kMaxThreads, 1)
    combine_kernel(const __grid_constant__ CombineArgs args) {
  if constexpr (kPhases == Phases::both) combine(CudaPlatform{}, CudaWarp{}, args);
  if constexpr (kPhases == Phases::send) combine_send(CudaPlatform{}, CudaWarp{}, args);
  if constexpr (kPhases == Phases::receive) combine_receive(CudaPlatform{}, CudaWarp{}, args);
}

void check(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return;
  throw std::runtime_error(std::string(call) + ": " + cudaGetErrorString(error));
}

int attribute(cudaDeviceAttr which) {
  int device = 0, value = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&value, which, device), "cudaDeviceGetAttribute");
  return value;
}

template <class Args>
void launch(void (*kernel)(Args), const Args& args, const LaunchShape& shape, CUstream_st* stream) {
  if (shape.blocks == 0 || shape.warps_per_block == 0 || shape.warps_per_block > kMaxCudaWarps) {
    throw std::runtime_error("launch of " + std::to_string(shape.blocks) + " blocks of " +
                             std::to_string(shape.warps_per_block) + " warps");
  }
  const uint32_t shared = shared_bytes(args.common.layout, shape.warps_per_block);
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(shared)),
        "cudaFuncSetAttribute");
  kernel<<<shape.blocks, shape.warps_per_block * CudaWarp::kLanes, shared, stream>>>(args);
  check(cudaGetLastError(), "kernel launch");
}

}  // namespace

LaunchShape widest_launch(const Layout& layout, uint32_t ranks_per_gpu) {
  const auto processors = static_cast<uint32_t>(attribute(cudaDevAttrMultiProcessorCount));
  const auto shared = static_cast<uint32_t>(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin));
  uint32_t warps = kMaxCudaWarps;
  while (warps > 1 && shared_bytes(layout, warps) > shared) --warps;
  return {std::max(1u, processors / std::max(1u, ranks_per_gpu)), warps};
}

void launch_dispatch(const DispatchArgs& args, Phases phases, const LaunchShape& shape,
                     CUstream_st* stream) {
  const auto kernel = phases == Phases::both   ? dispatch_kernel<Phases::both>
                      : phases == Phases::send ? dispatch_kernel<Phases::send>
                                               : dispatch_kernel<Phases::receive>;
  launch(kernel, args, shape, stream);
}

void launch_combine(const CombineArgs& args, Phases phases, const LaunchShape& shape,
                    CUstream_st* stream) {
  const auto kernel = phases == Phases::both   ? combine_kernel<Phases::both>
                      : phases == Phases::send ? combine_kernel<Phases::send>
                                               : combine_kernel<Phases::receive>;
  launch(kernel, args, shape, stream);
}

}  // namespace ringer::ep
