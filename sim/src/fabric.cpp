// SPDX-License-Identifier: Apache-2.0
#include <ringer/control_plane.hpp>
#include <ringer/sim/fabric.hpp>

namespace ringer::sim {

Fabric::~Fabric() = default;

Nic& Fabric::nic(uint32_t id) {
  if (id >= kMaxNics) throw BackendError("open_nic: no NIC number " + std::to_string(id));
  const Gate::Control control(gate_);
  const std::lock_guard lock(nics_mutex_);
  if (nics_.size() <= id) nics_.resize(id + 1);
  if (!nics_[id]) nics_[id] = std::make_unique<Nic>(*this, id, config_);
  return *nics_[id];
}

bool Fabric::step(uint32_t wqe_budget_per_nic) {
  return gate_.engine_turn([&] { return step_ungated(wqe_budget_per_nic); });
}

bool Fabric::step_ungated(uint32_t wqe_budget_per_nic) {
  bool any = false;
  for (const auto& nic : nics_) {
    if (nic) any = nic->step(wqe_budget_per_nic) || any;
  }
  return any;
}

uint64_t Fabric::violation_count() const {
  const std::lock_guard lock(nics_mutex_);
  uint64_t count = 0;
  for (const auto& nic : nics_) count += nic ? nic->violations().count() : 0;
  return count;
}

std::vector<Violation> Fabric::violations() const {
  const std::lock_guard lock(nics_mutex_);
  std::vector<Violation> all;
  for (const auto& nic : nics_) {
    if (!nic) continue;
    for (Violation& v : nic->violations().first()) all.push_back(std::move(v));
  }
  return all;
}

}  // namespace ringer::sim
