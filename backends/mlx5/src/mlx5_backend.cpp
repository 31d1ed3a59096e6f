// SPDX-License-Identifier: Apache-2.0
#include <cerrno>

#include <ringer/mlx5/mlx5_backend.hpp>

#include "devx_queue_pair.hpp"
#include "verbs_queue_pair.hpp"

namespace ringer::mlx5 {

namespace {

class Mlx5MemoryRegion : public MemoryRegion {
 public:
  Mlx5MemoryRegion(std::shared_ptr<Device> device, void* address, size_t bytes, uint32_t rights)
      : device_(std::move(device)) {
    ibv_mr* mr = device_->core.reg_mr(device_->pd, address, bytes, flags_of(rights));
    if (mr == nullptr) {
      fail("ibv_reg_mr of " + std::to_string(bytes) + " bytes", device_->name(), errno);
    }
    mr_ = {mr, device_->core.dereg_mr};
  }
  uint32_t lkey() const override { return mr_->lkey; }
  uint32_t rkey() const override { return mr_->rkey; }

 private:
  static int flags_of(uint32_t rights) {
    int flags = 0;
    if ((rights & access::local_write) != 0) flags |= IBV_ACCESS_LOCAL_WRITE;
    if ((rights & access::remote_write) != 0) flags |= IBV_ACCESS_REMOTE_WRITE;
    if ((rights & access::remote_read) != 0) flags |= IBV_ACCESS_REMOTE_READ;
    if ((rights & access::remote_atomic) != 0) flags |= IBV_ACCESS_REMOTE_ATOMIC;
    // What peers may write, the provider wants writable here, too.
    if ((rights & (access::remote_write | access::remote_atomic)) != 0) {
      flags |= IBV_ACCESS_LOCAL_WRITE;
    }
    return flags;
  }

  std::shared_ptr<Device> device_;
  Owned<ibv_mr> mr_;
};

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
  std::unique_ptr<MemoryRegion> register_memory(void* address, size_t bytes,
                                                uint32_t rights) override {
    return std::make_unique<Mlx5MemoryRegion>(device_, address, bytes, rights);
  }
  std::unique_ptr<QueuePair> create_queue_pair(const QueuePairConfig& config) override {
    if (by_firmware(config)) return std::make_unique<DevxQueuePair>(device_, config);
    return std::make_unique<VerbsQueuePair>(device_, config);
  }

 private:
  bool by_firmware(const QueuePairConfig& config) const {
    const QueueMaking making = device_->settings.queues.value;
    if (making == QueueMaking::verbs) return false;
    const bool far = config.kernels != nullptr && !config.kernels->host_reachable();
    const bool wanted = config.rq_wqes == 0 &&
                        (config.cq_mode == CqMode::collapsed || far || making == QueueMaking::devx);
    if (making == QueueMaking::devx && !device_->firmware_commands) {
      throw BackendError("create_queue_pair on " + device_->name() +
                         ": this user or device has no firmware commands (DEVX)");
    }
    return wanted && device_->firmware_commands;
  }

  std::shared_ptr<Device> device_;
};

}  // namespace

Mlx5Backend::Mlx5Backend(const FabricSettings& settings) : settings_(settings) { RdmaCore::load(); }
Mlx5Backend::~Mlx5Backend() = default;

std::string Mlx5Backend::describe() const {
  const std::lock_guard lock(mutex_);
  std::string text = mlx5::describe(settings_);
  for (const auto& [rank, port] : ports_) {
    text += "rank " + std::to_string(rank) + " on " + port + "\n";
  }
  return text;
}

std::unique_ptr<Nic> Mlx5Backend::open_nic(uint32_t rank) {
  const PortChoice choice = choose_port(Device::list_ports(), settings_, rank);
  {
    const std::lock_guard lock(mutex_);
    ports_[rank] = choice.reason;
  }
  return std::make_unique<Mlx5Nic>(std::make_shared<Device>(choice, settings_));
}

}  // namespace ringer::mlx5
