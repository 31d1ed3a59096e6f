// SPDX-License-Identifier: Apache-2.0
// Memory that the device knows: by address, or as a dma-buf where only its driver knows where it
// is.
#pragma once

#include <memory>

#include <ringer/control_plane.hpp>

#include "mlx5_device.hpp"

namespace ringer::mlx5 {

/// IBV_ACCESS_* for ringer::access bits.
int access_flags(uint32_t rights, RelaxedOrdering ordering);

class RegisteredMemory : public MemoryRegion {
 public:
  /// `memory` as in Nic::register_memory(). Errors: BackendError with each way that was tried.
  RegisteredMemory(std::shared_ptr<Device> device, void* address, size_t bytes, uint32_t rights,
                   KernelMemory* memory);
  uint32_t lkey() const override { return mr_->lkey; }
  uint32_t rkey() const override { return mr_->rkey; }

 private:
  std::shared_ptr<Device> device_;
  Owned<ibv_mr> mr_;
};

/// The same for queues that firmware commands name.
Owned<mlx5dv_devx_umem> register_queue_memory(const Device& device, KernelMemory& memory,
                                              void* address, size_t bytes);

}  // namespace ringer::mlx5
