// SPDX-License-Identifier: Apache-2.0
// Payload and flag under exploration: what a peer may read once it has been told.
#pragma once

#include <cstdint>
#include <memory>

#include <ringer/sim/explore/execution.hpp>

namespace ringer::sim {

/// How a peer is told that data has arrived (see Endpoint).
enum class FlagPolicy {
  strict_write,
  remote_atomic,
  count,
  flush,  ///< Channel::flush, then a relaxed store of the flag: mapped peers only
};

struct ArrivalScenario {
  FlagPolicy flag = FlagPolicy::strict_write;
  uint32_t puts = 1;  ///< up to 4, 16 bytes each
  /// Writes may pass each other and lie where they go in any order (PCIe relaxed ordering, adaptive
  /// routing), though no atomic: FlagPolicy::strict_write does not hold then.
  bool reorders = false;
  bool mapped = false;  ///< the receiver's memory is the poster's to write: a Channel without a NIC
};

/// "poster" writes payload, puts it, and tells "receiver", on another GPU, through "nic" or, where
/// its memory is mapped, by itself. Oracles:
/// the NIC reads the payload that was written, the receiver finds all of it once it has been told.
class ArrivalProgram : public Scenario {
 public:
  explicit ArrivalProgram(const ArrivalScenario& scenario);
  ~ArrivalProgram() override;

 private:
  struct World;

  void post(const SimPlatform& p);
  void post_mapped(const SimPlatform& p);
  void deliver(const SimPlatform& p);
  void receive(const SimPlatform& p);

  ArrivalScenario scenario_;
  std::unique_ptr<World> world_;
};

}  // namespace ringer::sim
