// SPDX-License-Identifier: Apache-2.0
#include "ring_executor.hpp"

#include <ringer/poll_loop.hpp>

namespace ringer::verbs {

void RingExecutor::add(PostedRing& ring) {
  const std::lock_guard lock(mutex_);
  rings_.push_back(&ring);
  if (!thread_.joinable()) {
    thread_ = std::jthread([this](const std::stop_token& stop) {
      poll_until_stopped(stop, [this] { return step(); });
    });
  }
}

void RingExecutor::forget(PostedRing& ring) {
  const std::lock_guard lock(mutex_);
  std::erase(rings_, &ring);
}

bool RingExecutor::step() {
  const std::lock_guard lock(mutex_);
  bool any = false;
  for (PostedRing* ring : rings_) any = ring->step() || any;
  return any;
}

}  // namespace ringer::verbs
