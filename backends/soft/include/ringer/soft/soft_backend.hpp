// SPDX-License-Identifier: Apache-2.0
// The control plane over the software NIC: native queues in this process's memory.
#pragma once

#include <memory>

#include <ringer/control_plane.hpp>
#include <ringer/sim/fabric.hpp>

namespace ringer::soft {

/// One software NIC a rank, all on one fabric. The fabric must outlive the backend and everything
/// made from it; somebody must step it (sim::NicThread, or a test).
class SoftBackend : public Backend {
 public:
  explicit SoftBackend(sim::Fabric& fabric) : fabric_(fabric) {}
  const char* name() const override { return "sim"; }
  std::unique_ptr<Nic> open_nic(uint32_t rank) override;

 private:
  sim::Fabric& fabric_;
};

}  // namespace ringer::soft
