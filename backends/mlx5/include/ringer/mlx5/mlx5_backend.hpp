// SPDX-License-Identifier: Apache-2.0
// The control plane over ConnectX: libibverbs and libmlx5, loaded at run time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <ringer/control_plane.hpp>
#include <ringer/mlx5/mlx5_settings.hpp>

namespace ringer::mlx5 {

/// Each queue pair has a doorbell register of its own. By firmware commands it is what was asked
/// for, in memory that kernels reach; made by the provider it is in host memory, rings may be
/// deeper than asked for, and completion queues have an owner bit: DeviceQp says what it has
/// become.
class Mlx5Backend : public Backend {
 public:
  /// Errors: BackendError that says which library or symbol is missing.
  explicit Mlx5Backend(const Mlx5Settings& settings, verbs::PortOrder order = verbs::in_turn);
  ~Mlx5Backend() override;

  const char* name() const override { return "mlx5"; }
  std::string describe() const override;
  /// The port that settings give to `rank`. Errors: BackendError with the failing verb, errno and
  /// device.
  std::unique_ptr<Nic> open_nic(uint32_t rank) override;

 private:
  Mlx5Settings settings_;
  verbs::RankPorts ports_;
};

}  // namespace ringer::mlx5
