// SPDX-License-Identifier: Apache-2.0
// An opened device and what lives on it. Each object keeps those that it needs alive, so they may
// go in any order.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ringer/mlx5/fabric_settings.hpp>

#include "doorbell_relay.hpp"
#include "rdma_core.hpp"
#include "register_pages.hpp"

namespace ringer::mlx5 {

/// Context and protection domain of one port.
class Device {
 public:
  /// All ports of all mlx5 devices.
  static std::vector<PortFacts> list_ports();
  /// Errors: BackendError.
  Device(const PortChoice& choice, const FabricSettings& settings);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const RdmaCore& core;
  ibv_context* context = nullptr;
  ibv_pd* pd = nullptr;
  PortChoice choice;
  FabricSettings settings;
  ibv_port_attr port{};
  ibv_device_attr attributes{};
  ibv_gid gid{};
  uint32_t pd_number = 0;
  bool firmware_commands = false;  ///< DEVX is there
  RegisterPages register_pages;
  DoorbellRelay relay;

  const std::string& name() const { return choice.device; }
  bool is_ethernet() const { return port.link_layer == IBV_LINK_LAYER_ETHERNET; }
};

/// A provider's object; `destroy` is null while there is none.
template <class T>
class Owned {
 public:
  Owned() = default;
  Owned(T* object, int (*destroy)(T*)) : object_(object), destroy_(destroy) {}
  ~Owned() { reset(); }
  Owned(Owned&& other) noexcept { *this = std::move(other); }
  Owned& operator=(Owned&& other) noexcept {
    std::swap(object_, other.object_);
    std::swap(destroy_, other.destroy_);
    return *this;
  }
  T* get() const { return object_; }
  T* operator->() const { return object_; }
  /// Somebody else destroys it.
  void release() { object_ = nullptr; }
  void reset() {
    if (object_ != nullptr) destroy_(object_);
    object_ = nullptr;
  }

 private:
  T* object_ = nullptr;
  int (*destroy_)(T*) = nullptr;
};

}  // namespace ringer::mlx5
