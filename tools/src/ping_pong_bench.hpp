// SPDX-License-Identifier: Apache-2.0
// Measures round trips of p2p::ping_pong through the software NIC.
#pragma once

#include <cstdint>
#include <vector>

#include "p2p_launcher.hpp"

namespace ringer::tools {

struct PingPongRun {
  RecordOrder record = RecordOrder::before_doorbell;
  uint32_t bytes = 8;
  uint32_t iterations = 1000;
  double seconds = 0;  ///< if not 0, launches of `iterations` until then
};

struct PingPongResult {
  std::vector<uint64_t> round_trips_ns;  ///< sorted
  uint64_t wrong = 0;                    ///< messages or bytes that were not what they should be
};

/// Throws BenchFailure if an end fails.
PingPongResult run_ping_pong(P2pLauncher& launcher, const PingPongRun& run);

}  // namespace ringer::tools
