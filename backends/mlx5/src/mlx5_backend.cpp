// SPDX-License-Identifier: Apache-2.0
#include <bit>

#include <ringer/mlx5/mlx5_backend.hpp>
#include <ringer/verbs/registered_memory.hpp>

#include "devx_queue_pair.hpp"
#include "verbs_queue_pair.hpp"

namespace ringer::mlx5 {

namespace {

class Mlx5Nic : public Nic {
 public:
  explicit Mlx5Nic(std::shared_ptr<Device> device) : device_(std::move(device)) {}

  NicCaps caps() const override {
    const ibv_device_attr& a = device_->attributes;
    return {device_->name(),
            static_cast<uint32_t>(a.max_qp),
            std::bit_floor(static_cast<uint32_t>(a.max_qp_wr)),
            true,
            a.atomic_cap != IBV_ATOMIC_NONE,
            false};
  }
  std::unique_ptr<MemoryRegion> register_memory(void* address, size_t bytes, uint32_t rights,
                                                KernelMemory* memory) override {
    return std::make_unique<verbs::RegisteredMemory>(device_, address, bytes, rights, memory);
  }
  std::unique_ptr<QueuePair> create_queue_pair(const QueuePairConfig& config) override {
    if (by_firmware(config)) return std::make_unique<DevxQueuePair>(device_, config);
    return std::make_unique<VerbsQueuePair>(device_, config);
  }

 private:
  bool by_firmware(const QueuePairConfig& config) const {
    const QueueMaking making = device_->queue_settings.queues.value;
    if (making == QueueMaking::verbs) return false;
    const bool far = config.kernels != nullptr && !config.kernels->host_reachable();
    const bool near = device_->queue_settings.queue_memory.value == QueueMemory::near;
    const bool wanted = config.rq_wqes == 0 && (config.cq_mode == CqMode::collapsed || far ||
                                                near || making == QueueMaking::devx);
    if (making == QueueMaking::devx && !device_->firmware_commands) {
      throw BackendError("create_queue_pair on " + device_->name() +
                         ": this user or device has no firmware commands (DEVX)");
    }
    return wanted && device_->firmware_commands;
  }

  std::shared_ptr<Device> device_;
};

}  // namespace

Mlx5Backend::Mlx5Backend(const Mlx5Settings& settings, verbs::PortOrder order)
    : settings_(settings), ports_(std::move(order)) {
  Mlx5Library::load();
}
Mlx5Backend::~Mlx5Backend() = default;

std::string Mlx5Backend::describe() const { return mlx5::describe(settings_) + ports_.describe(); }

std::unique_ptr<Nic> Mlx5Backend::open_nic(uint32_t rank) {
  const verbs::PortChoice choice = ports_.choose(Device::list_ports(), settings_, rank);
  return std::make_unique<Mlx5Nic>(std::make_shared<Device>(choice, settings_));
}

}  // namespace ringer::mlx5
