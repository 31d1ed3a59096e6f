// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <bit>

#include <ringer/verbs/registered_memory.hpp>
#include <ringer/verbs/verbs_backend.hpp>

#include "served_queue_pair.hpp"

namespace ringer::verbs {

namespace {

class VerbsNic : public Nic {
 public:
  explicit VerbsNic(std::shared_ptr<ServedDevice> device) : device_(std::move(device)) {}

  NicCaps caps() const override {
    const ibv_device_attr& a = device_->attributes;
    const auto deepest = static_cast<uint32_t>(std::min(a.max_qp_wr, a.max_cqe));
    return {device_->name(),
            static_cast<uint32_t>(a.max_qp),
            std::min(std::bit_floor(deepest), mlx5::Wire::kMaxSqWqebbs),
            true,
            a.atomic_cap != IBV_ATOMIC_NONE,
            false};
  }
  std::unique_ptr<MemoryRegion> register_memory(void* address, size_t bytes, uint32_t rights,
                                                KernelMemory* memory) override {
    return std::make_unique<RegisteredMemory>(device_, address, bytes, rights, memory);
  }
  std::unique_ptr<QueuePair> create_queue_pair(const QueuePairConfig& config) override {
    return std::make_unique<ServedQueuePair>(device_, config);
  }

 private:
  std::shared_ptr<ServedDevice> device_;
};

}  // namespace

VerbsBackend::VerbsBackend(const VerbsSettings& settings, PortOrder order)
    : settings_(settings), ports_(std::move(order)) {
  VerbsLibrary::load();
}
VerbsBackend::~VerbsBackend() = default;

std::string VerbsBackend::describe() const {
  return verbs::describe(settings_) + ports_.describe();
}

std::unique_ptr<Nic> VerbsBackend::open_nic(uint32_t rank) {
  const PortChoice choice = ports_.choose(list_ports(), settings_, rank);
  return std::make_unique<VerbsNic>(std::make_shared<ServedDevice>(choice, settings_));
}

}  // namespace ringer::verbs
