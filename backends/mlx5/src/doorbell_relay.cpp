// SPDX-License-Identifier: Apache-2.0
#include "doorbell_relay.hpp"

#include <chrono>

#include <ringer/host_platform.hpp>

namespace ringer::mlx5 {

namespace {
constexpr uint32_t kYieldTurns = 4096;  // in vain, before it naps
constexpr std::chrono::microseconds kNap{50};
}  // namespace

void DoorbellRelay::add(uint64_t* word, uint64_t* doorbell) {
  const std::lock_guard lock(mutex_);
  pairs_.push_back({word, doorbell});
  if (!thread_.joinable()) {
    thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
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

void DoorbellRelay::run(const std::stop_token& stop) {
  uint32_t idle = 0;
  while (!stop.stop_requested()) {
    idle = pass_on() ? 0 : idle + 1;
    if (idle > kYieldTurns) {
      std::this_thread::sleep_for(kNap);
    } else if (idle > 0) {
      std::this_thread::yield();
    }
  }
}

}  // namespace ringer::mlx5
