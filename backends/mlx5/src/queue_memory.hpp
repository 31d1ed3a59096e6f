// SPDX-License-Identifier: Apache-2.0
// Memory of queues that firmware commands name.
#pragma once

#include "mlx5_device.hpp"

namespace ringer::mlx5 {

/// As verbs::RegisteredMemory. Errors: BackendError with each way that was tried.
Owned<mlx5dv_devx_umem> register_queue_memory(const Device& device, KernelMemory& memory,
                                              void* address, size_t bytes);

}  // namespace ringer::mlx5
