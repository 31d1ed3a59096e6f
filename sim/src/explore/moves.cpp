// SPDX-License-Identifier: Apache-2.0
// Which moves there are.
#include <algorithm>
#include <bit>

#include <ringer/sim/explore/execution.hpp>

namespace ringer::sim {

const std::vector<Move>& Execution::moves() {
  moves_.clear();
  if (!failure_.empty()) return moves_;
  if (list_pending_store()) return moves_;
  const auto actors = static_cast<uint32_t>(actors_.size());
  bool all_ended = true;
  for (uint32_t i = 0; i < actors; ++i) {
    const uint32_t actor = (last_ + i) % actors;
    if (actors_[actor].ended) continue;
    all_ended = false;
    list_outcomes(actor, 0, moves_);
  }
  if (moves_.empty() && !all_ended) fail(deadlock());
  return moves_;
}

// A store belongs to the move that led to it; only its place can be chosen.
bool Execution::list_pending_store() {
  const Actor& last = actors_[last_];
  if (last.ended || last.next.kind != Request::Kind::store) return false;
  list_outcomes(last_, 0, moves_);
  return true;
}

const std::vector<Move>& Execution::read_moves(bool oldest_first) {
  moves_.clear();
  dead_end_ = false;
  if (!failure_.empty() || list_pending_store()) return moves_;
  bool all_ended = true;
  bool deferred = false;
  uint32_t movable = 0;
  for (uint32_t a = 0; a < actors_.size(); ++a) {
    reads_[a].clear();
    if (actors_[a].ended) continue;
    all_ended = false;
    if (!is_held_back(a)) list_reads(a, reads_[a]);
    movable += !reads_[a].empty();
    deferred = deferred || actors_[a].parked == Parked::deferred;
  }
  if (movable == 0) {
    dead_end_ = deferred;
    if (!all_ended && !deferred) fail(deadlock());
    return moves_;
  }
  // The first one, but for a move that is the only one: it leads nowhere else.
  const std::vector<Move>* chosen = nullptr;
  for (uint32_t a = 0; a < actors_.size(); ++a) {
    std::vector<Move>& moves = reads_[a];
    if (moves.empty()) continue;
    // Somebody else must go on for a younger store to come.
    if (movable > 1 && others_store(a)) moves.push_back({a, Move::kDefer});
    if (moves.size() == 1) return moves;
    if (chosen == nullptr) chosen = &moves;
  }
  moves_ = *chosen;
  if (oldest_first) std::reverse(moves_.begin(), moves_.end());
  return moves_;
}

bool Execution::any_news(const Actor& actor, uint32_t since) const {
  return std::any_of(actor.watches, actor.watches + actor.watched,
                     [&](uint32_t location) { return memory_.youngest(location) > since; });
}

// Who has been parked is interested in younger stores only: what was there is what he has left.
void Execution::list_reads(uint32_t actor, std::vector<Move>& moves) {
  Actor& a = actors_[actor];
  uint32_t age = 0;
  if (a.parked != Parked::no) {
    if (!any_news(a, a.parked_at)) return;
    age = a.parked_at;
  }
  list_outcomes(actor, age, moves);
  if (!moves.empty()) return;
  if (a.parked == Parked::no) a.parked = Parked::blocked;
  a.parked_at = memory_.stores_made();
}

bool Execution::anybody_deferred() const {
  return std::any_of(actors_.begin(), actors_.end(), [](const Actor& actor) {
    return !actor.ended && actor.parked == Parked::deferred;
  });
}

bool Execution::others_store(uint32_t actor) const {
  uint64_t others = 0;
  for (uint32_t o = 0; o < actors_.size(); ++o) {
    if (o != actor && !actors_[o].ended) others |= uint64_t{1} << o;
  }
  const Actor& a = actors_[actor];
  return std::any_of(a.watches, a.watches + a.watched, [&](uint32_t location) {
    return (memory_.assumed().word(location).stores & others) != 0;
  });
}

// Of the actor's next access, those that read a store younger than `age`; all if that is 0.
void Execution::list_outcomes(uint32_t actor, uint32_t age, std::vector<Move>& moves) {
  const Request& next = actors_[actor].next;
  if (next.kind == Request::Kind::await) return list_looks(actor, age, moves);
  uint32_t outcomes = 0;
  if (next.kind == Request::Kind::load) {
    outcomes = memory_.load_choices(actor, next.location);
  } else if (next.kind == Request::Kind::store) {
    outcomes = memory_.store_choices(actor, next.location);
  } else {
    outcomes = memory_.update_choices(actor, next.location, next.update);
  }
  for (uint32_t o = 0; o < outcomes; ++o) {
    if (age != 0) {
      const uint32_t read = next.kind == Request::Kind::load
                                ? memory_.age_of_load(next.location, o)
                                : memory_.age_of_update(actor, next.location, o, next.update);
      if (read <= age) continue;
    }
    moves.push_back({actor, o});
  }
}

// An await's outcomes are the ways through its look that find what it waits for. Its loads are one
// step: when the last of them can be made, so can those before it.
void Execution::list_looks(uint32_t actor, uint32_t age, std::vector<Move>& moves) {
  if (relist_looks(actor, age, moves)) return;
  glance_.choices.clear();
  glance_.options.clear();
  glance_.recording = false;
  Actor& a = actors_[actor];
  uint32_t found = 0;
  bool first = true;
  bool newest = false;  // what the first look sees is enough
  a.listed = 0;
  do {
    const MemoryModel::Eyes eyes = memory_.hold(actor);
    const bool finds = glance(actor);
    memory_.put_back(actor, eyes);
    newest = first ? finds : newest;
    first = false;
    if (!finds) continue;
    if (age == 0 || glance_.youngest > age) {
      moves.push_back({actor, found});
      a.listed |= uint64_t{1} << std::min(found, Actor::kListed);
    }
    ++found;
  } while (next_glance());
  memory_.forgive();  // what was only tried
  // Also of what the actor has deferred: it may have been there, and be gone.
  const bool miss = !newest && found > 0;
  if (miss) moves.push_back({actor, Move::kMiss});
  a.listed |= static_cast<uint64_t>(miss) << Actor::kListed;
  a.listed_at = found < Actor::kListed ? memory_.stores_made() : Actor::kNever;
  a.listed_age = age;
}

// Where nobody has stored since to what an actor looks at, its outcomes are what they were.
bool Execution::relist_looks(uint32_t actor, uint32_t age, std::vector<Move>& moves) const {
  const Actor& a = actors_[actor];
  if (a.listed_at == Actor::kNever || a.listed_age != age || any_news(a, a.listed_at)) return false;
  for (uint64_t left = a.listed; left != 0; left &= left - 1) {
    const auto outcome = static_cast<uint32_t>(std::countr_zero(left));
    moves.push_back({actor, outcome == Actor::kListed ? Move::kMiss : outcome});
  }
  return true;
}

void Execution::perform_look(uint32_t actor, uint32_t outcome) {
  glance_.choices.clear();
  glance_.options.clear();
  glance_.recording = true;
  actors_[actor].listed_at = Actor::kNever;  // it knows more now
  for (;;) {
    glance_.loads.clear();
    const MemoryModel::Eyes eyes = memory_.hold(actor);
    const bool finds = glance(actor);
    if (outcome == Move::kMiss || (finds && outcome-- == 0)) {
      memory_.let_go(eyes);
      break;
    }
    memory_.put_back(actor, eyes);
    memory_.forgive();
    if (!next_glance()) return fail("an await's outcome is lost");
  }
  for (const Glance::Load& load : glance_.loads) tell(actor, load.request, load.choice, load.value);
}

// Runs the look along glance_.choices and, beyond them, the newest stores.
bool Execution::glance(uint32_t actor) {
  const Request& next = actors_[actor].next;
  glance_.at = 0;
  glance_.youngest = 0;
  glancing_ = true;
  const bool found = next.look(next.context);
  glancing_ = false;
  stack_ran(actor);
  return found;
}

// The last load that could return something else does so.
bool Execution::next_glance() {
  glance_.choices.resize(glance_.at);
  while (!glance_.choices.empty()) {
    if (++glance_.choices.back() < glance_.options[glance_.choices.size() - 1]) return true;
    glance_.choices.pop_back();
  }
  return false;
}

uint64_t Execution::load_at_glance(uint32_t actor) {
  Request& request = glance_.next;
  prepare(request);
  watch(actors_[actor], request.location);
  const size_t at = glance_.at++;
  if (at == glance_.choices.size()) glance_.choices.push_back(0);
  glance_.options.resize(std::max(glance_.options.size(), at + 1));
  glance_.options[at] = memory_.load_choices(actor, request.location);
  const uint32_t choice = glance_.choices[at];
  glance_.youngest = std::max(glance_.youngest, memory_.age_of_load(request.location, choice));
  const uint64_t value =
      memory_.load(actor, request.location, choice, request.scope, request.order);
  if (glance_.recording) glance_.loads.push_back({request, choice, value});
  return value;
}

}  // namespace ringer::sim
