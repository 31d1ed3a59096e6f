// SPDX-License-Identifier: Apache-2.0
// Depth first through all executions of a program, whole or within a bound on surprises; states
// that are met again are known, or, stateless, are not.
#include <memory>
#include <optional>
#include <stdexcept>

#include "covered_set.hpp"
#include "schedule.hpp"

namespace ringer::sim {

namespace {

constexpr uint32_t kUnbounded = ~uint32_t{0};
constexpr uint64_t kPreludes = 64;

class DepthFirst {
 public:
  DepthFirst(const Program& program, uint32_t surprises, bool stateless)
      : execution_(program), surprises_(surprises), knows_states_(!stateless && Fiber::savable()) {
    if (program.memory == nullptr) {
      throw std::invalid_argument("what a program shares must be known to save its states");
    }
    if (knows_states_) execution_.will_identify();
  }

  ExploreResult run(uint64_t max_executions) {
    // Who accesses what is found out on the way; what was not known has to be begun again.
    for (uint64_t seed = 0; seed < kPreludes; ++seed) {
      const Schedule taken = draw_once(execution_, seed);
      if (!account(result_, execution_, taken)) return result_;
    }
    do {
      execution_.assume();
      result_ = {};
      met_ = {};
      seen_ = {};
      came_back_to_ = kUnbounded;
      depth_ = 0;
      left_ = surprises_;
      const bool ended = run_all(max_executions);
      if (ended || !execution_.as_assumed()) continue;
      while (depth_ > 0) add_whole(levels_[--depth_]->whole);
      return result_;
    } while (!execution_.as_assumed());
    if (result_.executions == result_.blocked) result_.failure = "no execution comes to an end";
    result_.complete = result_.failure.empty();
    return result_;
  }

 private:
  struct Level {
    Execution::State state;
    uint64_t digest;
    Execution::Identity identity;
    std::vector<Move> moves;
    uint32_t taken;
    uint32_t left;  // surprises
    double whole;   // executions to an end from here, so far

    bool at_last_move() const { return taken + 1 == moves.size(); }
  };

  // False if it has failed, or not come to the end: by what somebody accesses who was not expected
  // to, what has been left out so far may have been missed.
  bool run_all(uint64_t max_executions) {
    execution_.restart();
    do {
      if (result_.executions == max_executions) return false;
      const uint64_t begun = execution_.steps();
      const double whole = go_down();
      if (!execution_.as_assumed()) return false;
      account_for(begun, whole);
      if (!result_.failure.empty()) return false;
    } while (go_back());
    return true;
  }

  const std::vector<Move>& moves() { return execution_.read_moves(surprises_ == kUnbounded); }

  // Takes first moves until there is none, or until a state that has been met. Returns how many
  // executions to an end there are from there on: none that are known of, if it is covered by
  // another one, or has not been left.
  double go_down() {
    blocked_ = false;
    for (;;) {
      const std::vector<Move>& moves = this->moves();
      if (!execution_.as_assumed()) return 0;
      if (moves.empty()) {
        blocked_ = execution_.dead_end();
        return blocked_ ? 0 : 1;
      }
      if (moves.size() > 1) {
        if (const std::optional<double> whole = look_up(); whole) {
          blocked_ = true;
          return *whole;
        }
        push(moves);
      }
      execution_.take(moves[0]);
    }
  }

  // What go_down() returns for the state here, unless it is new.
  std::optional<double> look_up() {
    if (!knows_states_) return std::nullopt;
    execution_.identify(identity_);
    digest_ = identity_.digest();
    if (!covering()) digest_ = mix(digest_, left_ + 1);
    const auto [whole, fresh] = met_.insert(digest_);
    if (fresh) return is_covered() ? std::optional<double>(0) : std::nullopt;
    look_for_livelock();
    return *whole;
  }

  // To the last state that has another move within the bound, and takes it.
  bool go_back() {
    for (;;) {
      while (depth_ > 0 && levels_[depth_ - 1]->at_last_move()) close();
      if (depth_ == 0) return false;
      Level& level = *levels_[depth_ - 1];
      ++level.taken;
      const Move& move = level.moves[level.taken];
      const uint32_t cost = cost_of(move);
      if (cost > level.left) continue;
      left_ = level.left - cost;
      return_to(level);
      execution_.take(move);
      return true;
    }
  }

  // Whether all that can follow upon the state here can follow upon one that has been left.
  bool is_covered() const {
    if (!covering()) return false;
    return seen_.any(
        identity_.place, identity_.memory.extent,
        [&](std::span<const uint32_t> memory) { return execution_.covers(memory, identity_); });
  }

  // All that can follow upon the last level's state has been seen. Where an execution has come back
  // to a level below, that holds only once that one is left, too.
  void close() {
    const Level& level = *levels_[--depth_];
    add_whole(level.whole);
    if (!knows_states_) return;
    met_.at(level.digest) = level.whole;
    if (depth_ > came_back_to_) return;
    came_back_to_ = kUnbounded;
    if (covering()) seen_.add(level.identity.place, level.identity.memory);
  }

  void add_whole(double executions) {
    (depth_ == 0 ? result_.whole : levels_[depth_ - 1]->whole) += executions;
  }

  bool covering() const { return surprises_ == kUnbounded && knows_states_; }

  // Where no state can be saved: all over again, along what the levels below say.
  void return_to(Level& level) {
    if (Fiber::savable()) {
      return level.at_last_move() ? execution_.take_back(level.state)
                                  : execution_.restore(level.state);
    }
    execution_.restart();
    for (size_t below = 0;;) {
      const std::vector<Move>& moves = this->moves();
      if (moves.size() == 1) {
        execution_.take(moves[0]);
      } else if (below + 1 == depth_) {
        return;
      } else {
        execution_.take(moves[levels_[below++]->taken]);
      }
    }
  }

  // Where nobody has been set aside, whoever comes back to where he was can do so for ever.
  void look_for_livelock() {
    for (size_t i = 0; i < depth_; ++i) {
      if (levels_[i]->digest != digest_) continue;
      came_back_to_ = std::min(came_back_to_, static_cast<uint32_t>(i));
      if (execution_.anybody_deferred()) return;
      result_.failure = "livelock: an execution comes back to where it was";
    }
  }

  void push(const std::vector<Move>& moves) {
    if (depth_ == levels_.size()) levels_.push_back(std::make_unique<Level>());
    Level& level = *levels_[depth_++];
    level.digest = digest_;
    level.taken = 0;
    level.whole = 0;
    level.moves = moves;
    level.left = left_;
    if (covering()) level.identity = identity_;
    if (Fiber::savable()) execution_.save(level.state);
  }

  uint32_t cost_of(const Move& move) const {
    return surprises_ != kUnbounded && move.outcome != 0 ? 1 : 0;
  }

  void account_for(uint64_t begun, double whole) {
    add_whole(whole);
    ++result_.executions;
    result_.blocked += blocked_;
    result_.steps += execution_.steps() - begun;
    result_.max_depth = std::max(result_.max_depth, execution_.steps());
    result_.hash = mix(result_.hash, execution_.run_hash());
    if (!blocked_) result_.failure = execution_.verdict();
    if (result_.failure.empty()) return;
    result_.schedule = text_of(decisions());
  }

  // The way here, as a replay takes it: among the moves of all actors.
  Schedule decisions() {
    std::vector<Move> way;
    std::vector<uint32_t> taken;
    for (size_t i = 0; i < depth_; ++i) taken.push_back(levels_[i]->taken);
    execution_.restart();
    for (size_t i = 0;;) {
      const std::vector<Move>& moves = this->moves();
      if (moves.empty()) break;
      way.push_back(moves[moves.size() == 1 ? 0 : taken[i++]]);
      execution_.take(way.back());
    }
    Schedule schedule;
    execution_.restart();
    for (const Move& move : way) {
      if (move.outcome == Move::kDefer) continue;
      const std::vector<Move>& moves = execution_.moves();
      const auto found = std::find_if(moves.begin(), moves.end(), [&](const Move& m) {
        return m.actor == move.actor && m.outcome == move.outcome;
      });
      if (moves.size() > 1) schedule.push_back(static_cast<uint32_t>(found - moves.begin()));
      execution_.take(move);
    }
    return schedule;
  }

  Execution execution_;
  uint32_t surprises_;
  bool knows_states_;
  uint32_t left_ = surprises_;
  std::vector<std::unique_ptr<Level>> levels_;
  size_t depth_ = 0;
  DigestMap<double> met_;  // executions to an end from there on
  CoveredSet seen_;
  // The lowest level whose state an execution above it has come back to.
  uint32_t came_back_to_ = kUnbounded;
  Execution::Identity identity_;  // of the state here
  uint64_t digest_ = 0;           // of that, and of the surprises left
  bool blocked_ = false;
  ExploreResult result_;
};

}  // namespace

ExploreResult explore_all(const Program& program, uint64_t max_executions) {
  return DepthFirst(program, kUnbounded, false).run(max_executions);
}

ExploreResult explore_stateless(const Program& program, uint64_t max_executions) {
  return DepthFirst(program, kUnbounded, true).run(max_executions);
}

ExploreResult explore_bounded(const Program& program, uint32_t surprises, uint64_t max_executions) {
  return DepthFirst(program, surprises, false).run(max_executions);
}

}  // namespace ringer::sim
