// SPDX-License-Identifier: Apache-2.0
// A doorbell register that one queue pair has for itself, and how kernels reach it.
#pragma once

#include "mlx5_device.hpp"

namespace ringer::mlx5 {

class DoorbellRegister {
 public:
  /// Errors: BackendError where kernels must reach the register, and do not.
  DoorbellRegister(Device& device, KernelMemory& kernels);
  ~DoorbellRegister();
  DoorbellRegister(const DoorbellRegister&) = delete;
  DoorbellRegister& operator=(const DoorbellRegister&) = delete;

  uint32_t page_id() const { return register_->page_id; }
  /// Where kernels store doorbells.
  uint64_t* address() const { return address_; }

 private:
  Device& device_;
  KernelMemory& kernels_;
  Owned<mlx5dv_devx_uar> register_;
  KernelArray<uint64_t> relayed_;  // where kernels do not reach it
  bool mapped_ = false;
  uint64_t* address_ = nullptr;
};

}  // namespace ringer::mlx5
