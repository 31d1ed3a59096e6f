// SPDX-License-Identifier: Apache-2.0
// The control plane over ConnectX: libibverbs and libmlx5, loaded at run time.
#pragma once

#include <functional>
#include <memory>

#include <ringer/control_plane.hpp>
#include <ringer/mlx5/fabric_settings.hpp>

namespace ringer::mlx5 {

/// Queues are made by the provider, in host memory; each queue pair has a doorbell register of its
/// own (a thread domain). What the provider makes is what DeviceQp says: rings may be deeper than
/// asked for, and completion queues have an owner bit.
class Mlx5Backend : public Backend {
 public:
  /// Errors: BackendError that says which library or symbol is missing.
  explicit Mlx5Backend(const FabricSettings& settings);
  ~Mlx5Backend() override;

  const char* name() const override { return "mlx5"; }
  /// The port that settings give to `rank`. Errors: BackendError with the failing verb, errno and
  /// device.
  std::unique_ptr<Nic> open_nic(uint32_t rank) override;

 private:
  FabricSettings settings_;
};

}  // namespace ringer::mlx5
