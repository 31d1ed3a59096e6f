// SPDX-License-Identifier: Apache-2.0
// The command ring between kernels and a host proxy under exploration.
#pragma once

#include <cstdint>
#include <memory>

#include <ringer/sim/explore/execution.hpp>

namespace ringer::sim {

struct FifoScenario {
  uint32_t pushers = 2;   ///< 1 to 4
  uint32_t commands = 1;  ///< each
  uint32_t depth = 1;     ///< power of two, at most 4
  bool fails = false;     ///< the proxy fails the ring instead of taking the last command
  bool aborts = false;    ///< the proxy takes nothing and sets the pushers' stop word instead
};

/// "pusher0" and so on, which push and flush, and "proxy". Oracles: the proxy takes each command
/// once, whole, and in its pusher's order; a flush ends when all of its pusher's commands are done;
/// after a failure everybody leaves with it.
class FifoProgram : public Scenario {
 public:
  explicit FifoProgram(const FifoScenario& scenario);
  ~FifoProgram() override;

 private:
  struct World;

  void push(const SimPlatform& p, uint32_t pusher);
  void serve(const SimPlatform& p);
  void give_up(const SimPlatform& p);

  FifoScenario scenario_;
  std::unique_ptr<World> world_;
};

}  // namespace ringer::sim
