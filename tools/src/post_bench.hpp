// SPDX-License-Identifier: Apache-2.0
// Measures posting: launches of p2p::post, each checked.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "post_rings.hpp"

namespace ringer::tools {

/// Who takes what is posted: nobody (the cost of posting alone), or the software NIC.
enum class BenchNic { none, sim };

struct PostRun {
  PostRingsConfig rings;
  uint32_t doorbell_every = 1;  ///< posts; 0: the last of a launch
  BenchNic nic = BenchNic::none;
  uint32_t launches = 10;  ///< timed, after one of warm-up
  double seconds = 0;      ///< if not 0, as many launches as fit
};

struct PostResult {
  std::vector<double> launch_ns;  ///< first post to last post or completion of any warp; sorted
  uint64_t wqes = 0;              ///< a launch
  uint64_t wrong = 0;
  std::string first_wrong;

  double median_ns() const { return launch_ns[launch_ns.size() / 2]; }
};

/// Throws std::invalid_argument (the shape makes no sense), BackendError (the machine cannot run
/// it) or BenchFailure.
PostResult run_post(P2pLauncher& launcher, const PostRun& run);

}  // namespace ringer::tools
