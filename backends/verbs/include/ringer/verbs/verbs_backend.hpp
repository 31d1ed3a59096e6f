// SPDX-License-Identifier: Apache-2.0
// The control plane over any RDMA NIC, SoftRoCE among them: libibverbs, loaded at run time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <ringer/control_plane.hpp>
#include <ringer/verbs/verbs_settings.hpp>

namespace ringer::verbs {

/// Rings are Ringer's own, in memory that kernels and host reach. The host carries out what is
/// posted there: the thread that posts by QueuePair::post(), or, for kernels, one thread a NIC.
/// Others may wait for completions by events, and for peers that connect.
class VerbsBackend : public Backend {
 public:
  /// Errors: BackendError that says which library or symbol is missing.
  explicit VerbsBackend(const VerbsSettings& settings, PortOrder order = in_turn);
  ~VerbsBackend() override;

  const char* name() const override { return "verbs"; }
  std::string describe() const override;
  /// The port that settings give to `rank`. Errors: BackendError with the failing verb, errno and
  /// device.
  std::unique_ptr<Nic> open_nic(uint32_t rank) override;

 private:
  VerbsSettings settings_;
  RankPorts ports_;
};

}  // namespace ringer::verbs
