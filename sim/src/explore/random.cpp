// SPDX-License-Identifier: Apache-2.0
#include <random>

#include "schedule.hpp"

namespace ringer::sim {

// An actor first, then an outcome of its access, so that whoever has many has no more turns.
Schedule draw_once(Execution& execution, uint64_t seed) {
  std::mt19937_64 random(seed);
  return run_once(execution, [&](const std::vector<Move>& moves) {
    uint32_t actors = 1;
    for (size_t m = 1; m < moves.size(); ++m) actors += moves[m].actor != moves[m - 1].actor;
    auto skip = static_cast<uint32_t>(random() % actors);
    uint32_t first = 0;
    while (skip > 0) {
      ++first;
      if (moves[first].actor != moves[first - 1].actor) --skip;
    }
    return first + static_cast<uint32_t>(random() % outcomes_from(moves, first));
  });
}

ExploreResult explore_random(const Program& program, uint64_t seed, uint64_t executions) {
  Execution execution(program);
  ExploreResult result;
  for (uint64_t i = 0; i < executions; ++i) {
    const Schedule taken = draw_once(execution, mix(seed, i));
    if (!account(result, execution, taken)) return result;
  }
  result.complete = true;
  return result;
}

}  // namespace ringer::sim
