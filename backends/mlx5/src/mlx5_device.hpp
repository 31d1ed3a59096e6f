// SPDX-License-Identifier: Apache-2.0
// A ConnectX and what lives on it. Each object keeps those that it needs alive, so they may go in
// any order.
#pragma once

#include <vector>

#include <ringer/mlx5/mlx5_settings.hpp>
#include <ringer/verbs/device.hpp>

#include "doorbell_relay.hpp"
#include "mlx5_library.hpp"
#include "register_pages.hpp"

namespace ringer::mlx5 {

using verbs::fail;
using verbs::Owned;

class Device : public verbs::Device {
 public:
  /// All ports of all mlx5 devices.
  static std::vector<verbs::PortFacts> list_ports();
  /// Errors: BackendError.
  Device(const verbs::PortChoice& choice, const Mlx5Settings& settings);

  const Mlx5Library& mlx5;
  Mlx5Settings queue_settings;
  uint32_t pd_number = 0;
  bool firmware_commands = false;  ///< DEVX is there
  RegisterPages register_pages;
  DoorbellRelay relay;
};

}  // namespace ringer::mlx5
