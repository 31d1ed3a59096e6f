// SPDX-License-Identifier: Apache-2.0
// An opened device, as libibverbs shows any. Each object on it keeps it alive, so they may go in
// any order.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <ringer/verbs/fabric_settings.hpp>
#include <ringer/verbs/verbs_library.hpp>

namespace ringer::verbs {

/// Which of a machine's devices count.
using DeviceFilter = std::function<bool(ibv_device*)>;
inline bool any_device(ibv_device*) { return true; }

/// All ports of the devices that count. Errors: BackendError if the machine has no InfiniBand.
std::vector<PortFacts> list_ports(const DeviceFilter& counts = any_device);

/// Context and protection domain of one port.
class Device {
 public:
  /// Errors: BackendError.
  Device(const PortChoice& choice, const FabricSettings& settings);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const VerbsLibrary& verbs;
  ibv_context* context = nullptr;
  ibv_pd* pd = nullptr;
  PortChoice choice;
  FabricSettings settings;
  ibv_port_attr port{};
  ibv_device_attr attributes{};
  ibv_gid gid{};

  const std::string& name() const { return choice.device; }
  bool is_ethernet() const { return port.link_layer == IBV_LINK_LAYER_ETHERNET; }
};

}  // namespace ringer::verbs
