// SPDX-License-Identifier: Apache-2.0
// The send ring under exploration: posters on SimPlatform, a NIC that takes small steps, and
// oracles.
#pragma once

#include <cstdint>

#include <ringer/queue_policy.hpp>
#include <ringer/sim/explore/execution.hpp>

namespace ringer::sim {

/// What weakens every access of the posters, to show that the exploration sees what is missing.
enum class Weakening {
  none,
  relaxed_stores,   ///< releases of stores are dropped
  relaxed_loads,    ///< acquires of loads are dropped
  relaxed_updates,  ///< orders of read-modify-writes are dropped
  no_fences,
  narrow_fences,  ///< fences reach the GPU only
  narrow_stores,  ///< stores reach the block only
};

struct RingScenario {
  uint32_t posters = 2;
  uint32_t wqes = 1;         ///< each
  uint32_t ring_wqebbs = 2;  ///< power of two, at most 8
  uint64_t start_index = 0;
  Sharing sharing = Sharing::gpu;
  RecordOrder record = RecordOrder::before_doorbell;
  bool ring_each = true;  ///< else each poster's last post rings
  bool signal_each = false;
  Weakening weakening = Weakening::none;
};

/// Explores the scenario: no slot is overwritten before its WQE has completed, what the NIC fetches
/// is what was published, doorbells and records cover published WQEs only and never go back, each
/// WQE executes once and in its poster's order, nothing is left un-rung.
/// Errors: std::invalid_argument for a scenario that is none.
ExploreResult explore_ring(Choices& choices, const RingScenario& scenario, bool reduce = true);

}  // namespace ringer::sim
