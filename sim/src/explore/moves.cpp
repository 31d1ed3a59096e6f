// SPDX-License-Identifier: Apache-2.0
// Which moves there are.
#include <algorithm>
#include <bit>
#include <stdexcept>

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
  glance_.chosen = 0;
  Actor& a = actors_[actor];
  uint32_t found = 0;
  bool first = true;
  bool newest = false;  // what the first look sees is enough
  a.listed = 0;
  if (wiping_) digest_of_stack(actor);  // before the looks leave on it what does not count
  do {
    const bool finds = glance(actor);
    look_away(actor);
    newest = first ? finds : newest;
    first = false;
    if (!finds) continue;
    if (age == 0 || glance_.youngest > age) {
      moves.push_back({actor, found});
      a.listed |= uint64_t{1} << std::min(found, Actor::kListed);
    }
    if (found < a.ways.size()) a.ways[found] = packed_choices();
    ++found;
  } while (next_glance());
  // Also of what the actor has deferred: it may have been there, and be gone.
  const bool miss = !newest && found > 0;
  if (miss) moves.push_back({actor, Move::kMiss});
  a.listed |= static_cast<uint64_t>(miss) << Actor::kListed;
  a.listed_at = found < Actor::kListed ? memory_.stores_made() : Actor::kNever;
  a.listed_age = age;
}

bool Execution::relist_looks(uint32_t actor, uint32_t age, std::vector<Move>& moves) const {
  const Actor& a = actors_[actor];
  if (a.listed_age != age || !as_listed(a)) return false;
  for (uint64_t left = a.listed; left != 0; left &= left - 1) {
    const auto outcome = static_cast<uint32_t>(std::countr_zero(left));
    moves.push_back({actor, outcome == Actor::kListed ? Move::kMiss : outcome});
  }
  return true;
}

// Which store each load of the look that has just been made has taken.
uint64_t Execution::packed_choices() const {
  uint64_t packed = 0;
  for (size_t i = glance_.at; i-- > 0;) {
    if (i >= 7 || glance_.choices[i] > 255) return Actor::kUnknown;
    packed = packed << 8 | glance_.choices[i];
  }
  return packed;
}

// The way to an outcome as it was listed. False if it must be looked for.
bool Execution::know_way(const Actor& actor, uint32_t outcome) {
  glance_.chosen = 0;
  if (outcome == Move::kMiss) return true;
  const bool listed = outcome < actor.ways.size() && (actor.listed >> outcome & 1) != 0;
  if (!listed || !as_listed(actor) || actor.ways[outcome] == Actor::kUnknown) return false;
  for (uint64_t left = actor.ways[outcome]; left != 0; left >>= 8) {
    glance_.choices[glance_.chosen++] = static_cast<uint32_t>(left & 255);
  }
  return true;
}

bool Execution::find_way(uint32_t actor, uint32_t outcome) {
  do {
    const bool finds = glance(actor);
    look_away(actor);
    if (!finds || outcome-- != 0) continue;
    glance_.chosen = glance_.at;
    return true;
  } while (next_glance());
  return false;
}

void Execution::perform_look(uint32_t actor, uint32_t outcome) {
  if (!know_way(actors_[actor], outcome) && !find_way(actor, outcome)) {
    return fail("an await's outcome is lost");
  }
  actors_[actor].listed_at = Actor::kNever;  // it knows more now
  glance_.certain = true;
  const bool finds = glance(actor);
  glance_.certain = false;
  stack_ran(actor);
  if (finds == (outcome == Move::kMiss)) {
    fail("a wait's predicate says something else when it is asked again");
  }
}

// Runs the look along glance_.choices and, beyond them, the newest stores.
bool Execution::glance(uint32_t actor) {
  const Request& next = actors_[actor].next;
  glance_.at = 0;
  glance_.youngest = 0;
  glance_.eyes.reset();
  glancing_ = true;
  const bool found = next.look(next.context);
  glancing_ = false;
  return found;
}

// The last load that could return something else does so.
bool Execution::next_glance() {
  for (size_t last = glance_.at; last-- > 0;) {
    glance_.chosen = last + 1;
    if (++glance_.choices[last] < glance_.options[last]) return true;
  }
  return false;
}

// What the loads have changed, if there were several, is as it was.
void Execution::look_away(uint32_t actor) {
  if (!glance_.eyes) return;
  memory_.put_back(actor, *glance_.eyes);
  memory_.forgive();
}

// What a look that is only tried has loaded counts for its next load.
void Execution::see_last(uint32_t actor) {
  if (glance_.certain || glance_.at == 0) return;
  if (glance_.at == 1) glance_.eyes = memory_.hold(actor);
  const Request& last = glance_.next;
  memory_.load(actor, last.location, glance_.choices[glance_.at - 1], last.scope, last.order);
}

uint64_t Execution::load_at_glance(uint32_t actor, Scope scope, Order order, const void* at,
                                   uint8_t bytes, const Source& source) {
  see_last(actor);
  Request& request = glance_.next;
  request.scope = scope;
  request.order = order;
  request.at = const_cast<void*>(at);
  request.update.bytes = bytes;
  request.source = source;
  prepare(request);
  if (glance_.at == Glance::kMaxLoads) throw std::length_error("a wait makes too many loads");
  const size_t load = glance_.at++;
  if (load >= glance_.chosen) glance_.choices[load] = 0;
  const uint32_t choice = glance_.choices[load];
  if (glance_.certain) {
    const uint64_t value =
        memory_.load(actor, request.location, choice, request.scope, request.order);
    tell(actor, request, choice, value);
    return value;
  }
  memory_.will_load(actor, request.location, request.scope);
  watch(actors_[actor], request.location);
  glance_.options[load] = memory_.load_choices(actor, request.location);
  glance_.youngest = std::max(glance_.youngest, memory_.age_of_load(request.location, choice));
  return memory_.value_of_load(request.location, choice);
}

}  // namespace ringer::sim
