// SPDX-License-Identifier: Apache-2.0
// The send ring under exploration: posters on SimPlatform, a NIC that takes small steps, and
// oracles.
#pragma once

#include <cstdint>
#include <memory>

#include <ringer/device_qp.hpp>
#include <ringer/queue_policy.hpp>
#include <ringer/sim/explore/execution.hpp>

namespace ringer::sim {

struct RingScenario {
  uint32_t posters = 2;
  uint32_t wqes = 1;         ///< each
  uint32_t ring_wqebbs = 2;  ///< power of two, at most 8
  uint32_t batch = 1;        ///< WQEs a reservation
  uint64_t start_index = 0;
  Sharing sharing = Sharing::gpu;
  RecordOrder record = RecordOrder::before_doorbell;
  RungBy rung_by = RungBy::poster;
  AnyDoorbell doorbell{};     ///< beside what the posts ask for
  bool ring_each = true;      ///< each post asks for a doorbell, else each poster's last one
  uint32_t signal_every = 0;  ///< indices; 0: the queue's own half-ring signals only
  bool whole_batch = false;   ///< a batch is one reservation, or refused and then split
  bool signals = false;       ///< posts are Endpoint::signal(): values in WQE order
  bool mixed = false;  ///< poster 0 puts and rings each; poster 1 signals, the others put, un-rung
  CqMode cq_mode = CqMode::collapsed;
  bool recovers = false;    ///< the NIC may look at the record without having seen a doorbell
  uint32_t fails_at = 0;    ///< the NIC answers WQE number n, counted from 1, with an error CQE
  bool host_fails = false;  ///< the host gives the queue up meanwhile
};

/// Actors are "poster0" and so on, "server" where there is one, "nic", and "host" where the queue
/// fails, which reads the error or makes it. Oracles: no slot is
/// overwritten before its WQE has completed, what the NIC fetches is what was published, doorbells
/// and records cover published WQEs only and never go back, each WQE executes once and in its
/// poster's order, signals carry 1, 2, 3 in WQE order, the CQ is never overrun, nothing is left
/// un-rung. After an error all posters leave with it.
class RingProgram : public Scenario {
 public:
  /// Errors: std::invalid_argument for a scenario that is none.
  explicit RingProgram(const RingScenario& scenario);
  ~RingProgram() override;

 private:
  struct World;

  template <class Policy>
  void build();
  template <Sharing kSharing>
  void build_shared();

  RingScenario scenario_;
  std::unique_ptr<World> world_;
};

}  // namespace ringer::sim
