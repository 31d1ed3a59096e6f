// SPDX-License-Identifier: Apache-2.0
#include "doorbell_register.hpp"

#include <cerrno>

#include <ringer/control_plane.hpp>

namespace ringer::mlx5 {

namespace {

int free_register(mlx5dv_devx_uar* reg) {
  Mlx5Library::load().free_uar(reg);
  return 0;
}

mlx5dv_devx_uar* allocate(const Device& device) {
  for (const uint32_t type : {MLX5DV_UAR_ALLOC_TYPE_BF, MLX5DV_UAR_ALLOC_TYPE_NC}) {
    mlx5dv_devx_uar* reg = device.mlx5.alloc_uar(device.context, type);
    if (reg != nullptr) return reg;
  }
  fail("mlx5dv_devx_alloc_uar", device.name(), errno);
}

}  // namespace

// Kernels that do not reach the register leave the doorbell in memory, and the host passes it on.
DoorbellRegister::DoorbellRegister(Device& device, KernelMemory& kernels)
    : device_(device), kernels_(kernels), register_(allocate(device), free_register) {
  if (device.queue_settings.doorbells.value != DoorbellWay::cpu) {
    try {
      address_ = static_cast<uint64_t*>(device.register_pages.take(kernels, register_->reg_addr));
      mapped_ = true;
      return;
    } catch (const BackendError&) {
      if (device.queue_settings.doorbells.value == DoorbellWay::gpu) throw;
    }
  }
  relayed_ = KernelArray<uint64_t>(kernels, 1, MemoryUse::queue);
  address_ = relayed_.data();
  device.relay.add(address_, static_cast<uint64_t*>(register_->reg_addr));
}

DoorbellRegister::~DoorbellRegister() {
  device_.relay.forget(relayed_.data());
  if (mapped_) device_.register_pages.give_back(kernels_, register_->reg_addr);
}

}  // namespace ringer::mlx5
