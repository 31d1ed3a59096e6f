// SPDX-License-Identifier: Apache-2.0
#include <chrono>

#include <ringer/sim/fabric.hpp>

namespace ringer::sim {

namespace {
constexpr uint32_t kSpinTurns = 32;     // idle turns before yielding
constexpr uint32_t kYieldTurns = 4096;  // idle turns before napping
constexpr std::chrono::microseconds kNap{50};
}  // namespace

NicThread::NicThread(Fabric& fabric)
    : thread_([&fabric](const std::stop_token& stop) {
        uint32_t idle = 0;
        while (!stop.stop_requested()) {
          idle = fabric.step() ? 0 : idle + 1;
          if (idle > kYieldTurns) {
            std::this_thread::sleep_for(kNap);
          } else if (idle > kSpinTurns) {
            std::this_thread::yield();
          }
        }
      }) {}

}  // namespace ringer::sim
