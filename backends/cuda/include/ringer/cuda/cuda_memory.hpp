// SPDX-License-Identifier: Apache-2.0
// Memory of kernels that run on a GPU.
#pragma once

#include <cstdint>
#include <memory>

#include <ringer/kernel_memory.hpp>

namespace ringer::cuda {

/// Where windows go. Peers reach GPU memory over NVLink; a NIC without GPUDirect, and the software
/// NIC, reach pinned host memory only.
enum class WindowPlacement : uint32_t { gpu, pinned_host };

/// Number of GPUs that kernels can run on; 0 with the reason in `trouble` if there are none.
uint32_t count_gpus(const char** trouble);

/// Memory for kernels on GPU `device`: queues in pinned host memory, kernel state in GPU memory.
/// GPU memory is mapped for all GPUs of the machine that can reach it. Errors: BackendError with
/// the CUDA call and its error.
std::unique_ptr<KernelMemory> make_cuda_memory(int device, WindowPlacement windows);

}  // namespace ringer::cuda
