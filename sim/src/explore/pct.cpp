// SPDX-License-Identifier: Apache-2.0
#include <random>

#include "schedule.hpp"

namespace ringer::sim {

namespace {

/// The actors of one execution, the most important one first, and when that changes.
class Priorities {
 public:
  Priorities(uint64_t seed, uint32_t actors, uint32_t changes, uint64_t depth) : random_(seed) {
    for (uint32_t a = 0; a < actors; ++a) order_.push_back(a);
    for (uint32_t a = actors; a > 1; --a) std::swap(order_[a - 1], order_[random_() % a]);
    for (uint32_t c = 0; c < changes; ++c)
      changes_.push_back(random_() % std::max(depth, uint64_t{1}));
    std::sort(changes_.begin(), changes_.end(), std::greater<>());
  }

  uint32_t pick(const std::vector<Move>& moves, uint64_t step) {
    while (!changes_.empty() && changes_.back() <= step) {
      changes_.pop_back();
      const uint32_t actor = moves[first_of(moves)].actor;
      order_.erase(std::find(order_.begin(), order_.end(), actor));
      order_.push_back(actor);
    }
    return outcome_of(moves, first_of(moves));
  }

 private:
  uint32_t first_of(const std::vector<Move>& moves) const {
    for (const uint32_t actor : order_) {
      for (uint32_t m = 0; m < moves.size(); ++m) {
        if (moves[m].actor == actor) return m;
      }
    }
    return 0;
  }

  // Mostly the newest store: an old one is a surprise, too.
  uint32_t outcome_of(const std::vector<Move>& moves, uint32_t first) {
    constexpr uint64_t kSurprise = 4;
    if (random_() % kSurprise != 0) return first;
    return first + static_cast<uint32_t>(random_() % outcomes_from(moves, first));
  }

  std::mt19937_64 random_;
  std::vector<uint32_t> order_;
  std::vector<uint64_t> changes_;  // steps, the next one last
};

}  // namespace

ExploreResult explore_pct(const Program& program, uint64_t seed, uint64_t executions,
                          uint32_t changes, uint64_t depth) {
  Execution execution(program);
  ExploreResult result;
  const auto actors = static_cast<uint32_t>(program.actors.size());
  for (uint64_t i = 0; i < executions; ++i) {
    Priorities priorities(mix(seed, i), actors, changes, depth);
    const Schedule taken = run_once(execution, [&](const std::vector<Move>& moves) {
      return priorities.pick(moves, execution.steps());
    });
    if (!account(result, execution, taken)) return result;
  }
  result.complete = true;
  return result;
}

}  // namespace ringer::sim
