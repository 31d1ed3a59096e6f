// SPDX-License-Identifier: Apache-2.0
// Ways through the executions of a program: all of them, some of them, or one again.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ringer/sim/explore/execution.hpp>

namespace ringer::sim {

struct ExploreResult {
  uint64_t executions = 0;  ///< of the last pass, if a search makes several
  uint64_t blocked = 0;  ///< of these: came to a state that had been met before, or waited in vain
  uint64_t steps = 0;    ///< taken in all
  /// Of explore_all() and explore_bounded(): how many executions that go to an end these stand for,
  /// at least. A search that does not know states again would walk them one by one.
  double whole = 0;
  uint64_t max_depth = 0;  ///< steps of the longest execution
  bool complete = false;   ///< all there are, or all that were asked for, and none has failed
  uint64_t hash = 0;       ///< of all that was run; the same for the same search
  std::string failure;     ///< empty: none
  std::string schedule;    ///< of the failure, for replay()
};

/// Every execution, by depth first search over states: what follows from a state that has been met
/// before is not run again. Gives up after `max_executions` without having failed: not complete.
ExploreResult explore_all(const Program& program, uint64_t max_executions = ~uint64_t{0});

/// The same executions one by one: no state is known again. It does without what explore_all()
/// tells and forgets of states; what moves there are, and what they do, is the same code. For small
/// programs: explore_all() comes to its end sooner.
ExploreResult explore_stateless(const Program& program, uint64_t max_executions = ~uint64_t{0});

/// All executions with at most `surprises`: an actor set aside while it could go on, or
/// an access that does not take the newest store.
ExploreResult explore_bounded(const Program& program, uint32_t surprises,
                              uint64_t max_executions = ~uint64_t{0});

/// `executions` of them, each move drawn uniformly. The same for the same seed on every platform.
ExploreResult explore_random(const Program& program, uint64_t seed, uint64_t executions);

/// Probabilistic concurrency testing (Burckhardt et al., ASPLOS 2010): actors move by priority, and
/// at `changes` places, drawn among the first `depth` steps, the one at the front goes to the back.
ExploreResult explore_pct(const Program& program, uint64_t seed, uint64_t executions,
                          uint32_t changes, uint64_t depth);

/// One execution again, by the text that a failure gave; `trace` is told each step. Throws
/// std::invalid_argument for text that is no schedule of this program.
ExploreResult replay(const Program& program, const std::string& schedule,
                     std::vector<std::string>* trace = nullptr);

/// A schedule with a failure of the same kind and fewer surprises or steps, if one is near.
std::string shorten(const Program& program, const std::string& schedule);

}  // namespace ringer::sim
