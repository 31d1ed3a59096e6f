// SPDX-License-Identifier: Apache-2.0
// CUDA errors as exceptions.
#pragma once

#include <string>

#include <cuda_runtime.h>

#include <ringer/control_plane.hpp>

namespace ringer::cuda {

/// Throws BackendError "<call>: <error>" unless `error` is success.
inline void check(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return;
  throw BackendError(std::string(call) + ": " + cudaGetErrorString(error));
}

}  // namespace ringer::cuda
