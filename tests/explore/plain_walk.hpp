// SPDX-License-Identifier: Apache-2.0
// What a search is held to: the same executions without states that are known again.
#pragma once

#include <cstdint>
#include <vector>

#include <ringer/sim/explore/execution.hpp>

namespace ringer::test {

/// Every execution of a program, each from its beginning to an end. Only where Fiber::savable().
class PlainWalk {
 public:
  PlainWalk(const sim::Program& program, uint64_t most) : execution_(program), most_(most) {
    do {
      execution_.assume();
      execution_.restart();
      executions_ = 0;
      go_on();
    } while (!execution_.as_assumed() && !gave_up());
  }

  /// More than enough of them, or one that fails.
  bool gave_up() const { return executions_ > most_; }
  uint64_t executions() const { return executions_; }

 private:
  void go_on() {
    const std::vector<sim::Move> moves = execution_.read_moves();
    if (!execution_.as_assumed()) return;
    if (moves.empty() && !execution_.dead_end()) {
      executions_ = execution_.verdict().empty() ? executions_ + 1 : most_ + 1;
    }
    sim::Execution::State here;
    execution_.save(here);
    for (const sim::Move& move : moves) {
      if (gave_up()) return;
      execution_.restore(here);
      execution_.take(move);
      go_on();
    }
  }

  sim::Execution execution_;
  uint64_t most_;
  uint64_t executions_ = 0;
};

}  // namespace ringer::test
