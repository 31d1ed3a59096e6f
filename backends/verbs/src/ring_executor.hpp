// SPDX-License-Identifier: Apache-2.0
// The thread that carries out what kernels post to the rings of one NIC.
#pragma once

#include <mutex>
#include <thread>
#include <vector>

#include <ringer/verbs/posted_ring.hpp>

namespace ringer::verbs {

class RingExecutor {
 public:
  RingExecutor() = default;
  ~RingExecutor() = default;
  RingExecutor(const RingExecutor&) = delete;
  RingExecutor& operator=(const RingExecutor&) = delete;

  /// `ring` is served from now on. The first one starts the thread.
  void add(PostedRing& ring);
  /// And no more, when this returns.
  void forget(PostedRing& ring);

 private:
  bool step();

  std::mutex mutex_;
  std::vector<PostedRing*> rings_;
  std::jthread thread_;  // last: it uses what is above
};

}  // namespace ringer::verbs
