// SPDX-License-Identifier: Apache-2.0
#include "doorbell_relay.hpp"

#include <ringer/host_platform.hpp>
#include <ringer/poll_loop.hpp>

namespace ringer::mlx5 {

void DoorbellRelay::add(uint64_t* word, uint64_t* doorbell) {
  const std::lock_guard lock(mutex_);
  pairs_.push_back({word, doorbell});
  if (!thread_.joinable()) {
    thread_ = std::jthread([this](const std::stop_token& stop) {
      poll_until_stopped(stop, [this] { return pass_on(); });
    });
  }
}

void DoorbellRelay::forget(uint64_t* word) {
  if (word == nullptr) return;
  const std::lock_guard lock(mutex_);
  std::erase_if(pairs_, [&](const Pair& pair) { return pair.word == word; });
}

// A doorbell that is overwritten before it is passed on is no loss: the later one covers it.
bool DoorbellRelay::pass_on() {
  const HostPlatform p;
  const std::lock_guard lock(mutex_);
  bool any = false;
  for (const Pair& pair : pairs_) {
    if (p.load<Scope::sys, Order::relaxed>(pair.word) == 0) continue;
    // pairs with the fence before the poster's doorbell: its WQEs and record come first
    const uint64_t value = p.exchange<Scope::sys, Order::acquire>(pair.word, uint64_t{0});
    p.fence<Scope::sys, Order::release>();
    p.mmio_store(pair.doorbell, value);
    any = true;
  }
  return any;
}

}  // namespace ringer::mlx5
