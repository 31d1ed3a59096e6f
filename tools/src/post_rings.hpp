// SPDX-License-Identifier: Apache-2.0
// What a posting benchmark posts to, and the check of what it has done there.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <ringer/p2p/policies.hpp>
#include <ringer/p2p/post.hpp>

#include "p2p_launcher.hpp"

namespace ringer::tools {

struct PostRingsConfig {
  p2p::PostShape shape;
  p2p::PolicyChoice policy;
  uint32_t wqes;  ///< a warp and launch
  uint32_t batch;
  uint32_t bytes;
  uint32_t ring_wqebbs;
};

class PostRings {
 public:
  virtual ~PostRings() = default;
  /// Before each launch: the addresses and queue pairs that it is to use.
  virtual void prepare(p2p::PostArgs& args) = 0;
  /// After each launch: how much is not as it should be; `first` says what, if anything.
  virtual uint64_t check(std::string& first) = 0;
};

/// Rings without a NIC: a launch fills them and may not post more than fits, then every byte of
/// every ring, record, doorbell and head is compared. With Placement::gpu they lie in GPU memory,
/// but for the doorbell registers. Throws std::invalid_argument if the WQEs do not fit.
std::unique_ptr<PostRings> make_plain_rings(KernelMemory& memory, const PostRingsConfig& config);

/// Queue pairs of the software NIC, served by a thread. Checked are the NIC's counts, that it saw
/// no violation, and the bytes that arrived.
std::unique_ptr<PostRings> make_sim_rings(KernelMemory& memory, const PostRingsConfig& config);

}  // namespace ringer::tools
