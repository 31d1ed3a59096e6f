// SPDX-License-Identifier: Apache-2.0
// A schedule: which move was taken wherever there were several.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <ringer/sim/explore/digest.hpp>
#include <ringer/sim/explore/search.hpp>

namespace ringer::sim {

/// By decision, the place in Execution::moves(); 0 goes on without a surprise.
using Schedule = std::vector<uint32_t>;

/// "12:1,40:2": decision 12 takes move 1, decision 40 move 2, all others move 0; "-" is no surprise
/// at all.
std::string text_of(const Schedule& schedule);
/// Throws std::invalid_argument.
Schedule parse_schedule(const std::string& text);

/// Runs to the end what `schedule` says, and on without surprises.
std::string run_schedule(Execution& execution, const Schedule& schedule);

/// Runs one execution; `pick(moves)` is the index of the next move. Returns the decisions.
template <class Pick>
Schedule run_once(Execution& execution, Pick&& pick) {
  Schedule taken;
  execution.restart();
  for (;;) {
    const std::vector<Move>& moves = execution.moves();
    if (moves.empty()) return taken;
    const uint32_t choice = moves.size() == 1 ? 0 : pick(moves);
    if (moves.size() > 1) taken.push_back(choice);
    execution.take(moves[choice]);
  }
}

/// How many of the moves from `first` on are the same actor's.
inline uint32_t outcomes_from(const std::vector<Move>& moves, uint32_t first) {
  uint32_t outcomes = 1;
  while (first + outcomes < moves.size() && moves[first + outcomes].actor == moves[first].actor) {
    ++outcomes;
  }
  return outcomes;
}

/// One execution whose moves are drawn uniformly.
Schedule draw_once(Execution& execution, uint64_t seed);

/// One more execution, at its end, in the account of a search that draws them. False if it failed.
inline bool account(ExploreResult& result, Execution& execution, const Schedule& taken) {
  ++result.executions;
  result.steps += execution.steps();
  result.max_depth = std::max(result.max_depth, execution.steps());
  result.hash = mix(result.hash, execution.run_hash());
  result.failure = execution.verdict();
  if (result.failure.empty()) return true;
  result.schedule = text_of(taken);
  return false;
}

}  // namespace ringer::sim
