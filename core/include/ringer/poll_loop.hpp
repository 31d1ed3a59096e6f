// SPDX-License-Identifier: Apache-2.0
// How a host thread looks for work in memory without keeping a core when there is none.
#pragma once

#include <chrono>
#include <cstdint>
#include <stop_token>
#include <thread>

namespace ringer {

/// Calls `step`, which says whether it has done anything, until `stop`: at once again, then after
/// yielding, at last after naps.
template <class Step>
void poll_until_stopped(const std::stop_token& stop, Step&& step) {
  constexpr uint32_t kSpinTurns = 16;     // in vain, before it yields
  constexpr uint32_t kYieldTurns = 4096;  // in vain, before it naps
  constexpr std::chrono::microseconds kNap{50};
  uint32_t idle = 0;
  while (!stop.stop_requested()) {
    idle = step() ? 0 : idle + 1;
    if (idle > kYieldTurns) {
      std::this_thread::sleep_for(kNap);
    } else if (idle > kSpinTurns) {
      std::this_thread::yield();
    }
  }
}

}  // namespace ringer
