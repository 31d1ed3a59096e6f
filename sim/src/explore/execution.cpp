// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <span>
#include <stdexcept>

#include <ringer/sim/explore/digest.hpp>
#include <ringer/sim/explore/execution.hpp>
#include <ringer/sim/explore/sim_platform.hpp>

namespace ringer::sim {

namespace {

constexpr size_t kStackBytes = 64 * 1024;

uint64_t digest_of(const Fiber& fiber) {
  const std::span<const std::byte> stack = fiber.stack();
  return mix(digest_bytes(stack.data(), stack.size()), stack.size());
}

std::vector<MemoryModel::ActorFacts> facts_of(const std::vector<ActorSpec>& actors) {
  std::vector<MemoryModel::ActorFacts> facts;
  facts.reserve(actors.size());
  for (const ActorSpec& actor : actors) facts.push_back({actor.name, actor.place});
  return facts;
}

}  // namespace

Execution::Execution(const Program& program)
    : program_(program),
      memory_(facts_of(program.actors), program.max_locations),
      actors_(program.actors.size()),
      reads_(program.actors.size()) {
  if (program.scopes_required) memory_.require_scopes();
  for (const Program::Name& name : program.names) memory_.name(name.at, name.bytes, name.text);
  for (uint32_t a = 0; a < actors_.size(); ++a) {
    fibers_.push_back(std::make_unique<Fiber>(kStackBytes));
    fibers_[a]->start([this, a] { program_.actors[a].body(SimPlatform(*this, a)); });
  }
}

// What stands on the stacks owns nothing and is left there.
Execution::~Execution() {
  for (const auto& fiber : fibers_) {
    fiber->restart();
    fiber->start([] {});
    fiber->resume();
  }
}

void Execution::restart() {
  program_.reset();
  memory_.reset();
  failure_.clear();
  glancing_ = false;
  glance_ = {};
  last_ = 0;
  steps_ = 0;
  run_hash_ = 0;
  program_digest_.reset();
  for (Actor& actor : actors_) actor = {};
  for (uint32_t a = 0; a < actors_.size(); ++a) {
    fibers_[a]->restart();
    run_to_choice(a);
  }
}

// Stacks that have not run since are as they were, here and in restore().
void Execution::save(State& state) const {
  memory_.save(state.memory);
  state.fibers.resize(fibers_.size());
  state.actors.resize(actors_.size());
  for (size_t a = 0; a < fibers_.size(); ++a) {
    if (actors_[a].run != state.actors[a].run) fibers_[a]->save(state.fibers[a]);
  }
  state.actors = actors_;
  state.program_memory.assign(program_.memory, program_.memory + program_.memory_bytes);
  state.last = last_;
  state.steps = steps_;
  state.run_hash = run_hash_;
}

void Execution::restore(const State& state) {
  memory_.restore(state.memory);
  restore_rest(state);
}

void Execution::take_back(State& state) {
  memory_.take_back(state.memory);
  restore_rest(state);
}

// All but the memory.
void Execution::restore_rest(const State& state) {
  for (size_t a = 0; a < fibers_.size(); ++a) {
    if (actors_[a].run != state.actors[a].run) fibers_[a]->restore(state.fibers[a]);
  }
  actors_ = state.actors;
  std::memcpy(program_.memory, state.program_memory.data(), program_.memory_bytes);
  last_ = state.last;
  steps_ = state.steps;
  run_hash_ = state.run_hash;
  program_digest_.reset();
  failure_.clear();
}

void Execution::stack_ran(uint32_t actor) {
  actors_[actor].stack_changed = true;
  actors_[actor].run = ++runs_;
}

uint64_t Execution::digest_of_stack(uint32_t actor) {
  Actor& a = actors_[actor];
  if (a.stack_changed) {
    a.stack = a.ended ? 1 : mix(digest_of(*fibers_[actor]), a.next.digest());
    a.stack_changed = false;
  }
  return a.stack;
}

// The stack need not have what it has passed on.
uint64_t Execution::Request::digest() const {
  const uint64_t what = mix(static_cast<uint64_t>(kind) << 32 | static_cast<uint64_t>(scope) << 16 |
                                static_cast<uint64_t>(order) << 8 | update.bytes,
                            reinterpret_cast<uintptr_t>(at));
  if (kind == Kind::await) return mix(what, reinterpret_cast<uintptr_t>(look));
  return mix(mix(what, update.operand), update.expected ^ static_cast<uint64_t>(update.kind) << 60);
}

void Execution::identify(Identity& identity) {
  memory_.summarise(identity.memory);
  uint64_t digest = 0;
  for (uint32_t a = 0; a < actors_.size(); ++a) {
    Actor& actor = actors_[a];
    digest = mix(digest, digest_of_stack(a));
    if (actor.parked != Parked::deferred) continue;
    uint64_t younger = 1;
    for (uint32_t i = 0; i < actor.watched; ++i) {
      younger += memory_.younger_than(actor.watches[i], actor.parked_at);
    }
    digest = mix(digest, younger);
  }
  if (!program_digest_) program_digest_ = digest_bytes(program_.memory, program_.memory_bytes);
  identity.place = mix(digest, *program_digest_);
}

void Execution::take(const Move& move) {
  Actor& actor = actors_[move.actor];
  if (move.outcome == Move::kDefer) {
    actor.parked = Parked::deferred;
    actor.parked_at = memory_.stores_made();
    return;
  }
  last_ = move.actor;
  program_digest_.reset();
  if (++steps_ > program_.max_steps) fail(livelock());
  actor.parked = Parked::no;
  try {
    perform(move.actor, move.outcome);
    look_for_race();
    if (move.outcome != Move::kMiss) run_to_choice(move.actor);
  } catch (const MemoryModel::TooManyStores&) {
    fail(livelock());
  }
}

void Execution::perform(uint32_t actor, uint32_t outcome) {
  Actor& a = actors_[actor];
  const Request& next = a.next;
  if (next.kind == Request::Kind::await) return perform_look(actor, outcome);
  if (next.kind == Request::Kind::load) {
    a.result = memory_.load(actor, next.location, outcome, next.scope, next.order);
    return tell(actor, next, outcome, a.result);
  }
  if (next.kind == Request::Kind::store) {
    memory_.store(actor, next.location, outcome, next.update.operand, next.scope, next.order);
    stored(next);
    return tell(actor, next, outcome, next.update.operand);
  }
  a.result = memory_.update(actor, next.location, outcome, next.update, next.scope, next.order);
  a.begun = true;
  if (next.update.stores(a.result)) stored(next);
  tell(actor, next, outcome, a.result);
}

// Memory itself has what comes last, for whoever reads it plainly.
void Execution::stored(const Request& request) {
  const uint64_t value = memory_.final_value(request.location);
  std::memcpy(request.at, &value, request.update.bytes);
}

void Execution::tell(uint32_t actor, const Request& request, uint32_t outcome, uint64_t told) {
  run_hash_ = mix(run_hash_ ^ (uint64_t{actor} << 32 | request.location), told);
  if (trace_ != nullptr) trace_access(actor, request, outcome, told);
}

// The actor runs until there is something to choose in what it does next.
void Execution::run_to_choice(uint32_t actor) {
  stack_ran(actor);  // also if it is left by an exception
  fibers_[actor]->resume();
  if (!fibers_[actor]->finished()) return;
  actors_[actor].ended = true;
  memory_.retire(actor);
}

// At its next access, on its own stack.
void Execution::arrive(uint32_t actor) {
  Actor& a = actors_[actor];
  if (actor < program_.alike && !a.begun) require_alike(actor);
  a.watched = 0;
  a.listed_at = Actor::kNever;
}

void Execution::require_alike(uint32_t actor) const {
  const Request& first = actors_[actor].next;
  const bool same = actor == 0 || actors_[0].begun || first.at == actors_[0].next.at;
  if (first.kind == Request::Kind::update && same) return;
  throw std::logic_error(program_.actors[actor].name +
                         " does not begin by the read-modify-write that others like it begin by");
}

bool Execution::perform_at_once(uint32_t actor) {
  Actor& a = actors_[actor];
  Request& next = a.next;
  prepare(next);
  switch (next.kind) {
    case Request::Kind::await:
      return false;
    case Request::Kind::load:
      memory_.will_load(actor, next.location, next.scope);
      watch(a, next.location);
      return false;
    case Request::Kind::update:
      memory_.will_update(actor, next.location, next.update, next.scope);
      watch(a, next.location);
      return false;
    case Request::Kind::store:
      memory_.will_store(actor, next.location);
      if (memory_.store_choices(actor, next.location) > 1) return false;
      perform(actor, 0);
      return true;
    case Request::Kind::fence:
      if (program_.mutation == nullptr || !program_.mutation->drops(next.source)) {
        memory_.fence(actor, next.scope, next.order);
      }
      break;
    case Request::Kind::write_data:
      memory_.write_data(actor, next.at, next.update.operand);
      break;
    case Request::Kind::read_data:
      memory_.read_data(actor, next.at, next.update.operand);
      break;
  }
  look_for_race();
  if (trace_ != nullptr) trace_plain(actor);
  return true;
}

void Execution::look_for_race() {
  if (!memory_.race().empty()) fail("data race: " + memory_.race());
}

std::string Execution::verdict() {
  if (failure_.empty()) fail(program_.check());
  return failure_;
}

std::string Execution::livelock() const {
  std::string text = "livelock: after " + std::to_string(steps_) + " steps";
  for (uint32_t a = 0; a < actors_.size(); ++a) {
    if (!actors_[a].ended && !is_held_back(a)) text += " " + program_.actors[a].name;
  }
  return text + " still run";
}

std::string Execution::deadlock() const {
  std::string text = "deadlock:";
  for (uint32_t a = 0; a < actors_.size(); ++a) {
    if (actors_[a].ended || is_held_back(a)) continue;
    text += " " + program_.actors[a].name + " waits for '" + actors_[a].next.site + "'";
  }
  return text;
}

uint64_t Execution::request(uint32_t actor, Request::Kind kind, Scope scope, Order order,
                            const void* at, const Update& update, const Source& source) {
  Request& request = actors_[actor].next;
  request.kind = kind;
  request.scope = scope;
  request.order = order;
  request.at = const_cast<void*>(at);
  request.update = update;
  request.source = source;
  arrive(actor);
  if (!perform_at_once(actor)) fibers_[actor]->suspend();
  return actors_[actor].result;
}

void Execution::await(uint32_t actor, Look look, void* context, const char* site,
                      const Source& source) {
  Request& next = actors_[actor].next;
  next = {};
  next.kind = Request::Kind::await;
  next.look = look;
  next.context = context;
  next.site = site;
  next.source = source;
  arrive(actor);
  fibers_[actor]->suspend();
}

// What compilers make of a memset of this size takes longer to begin than to end.
template <size_t kBytes>
[[gnu::noinline]] void Execution::wipe_stack() {
  using Words = uint64_t __attribute__((vector_size(16)));
  Words below[kBytes / sizeof(Words)];
  for (Words& words : below) {
    words = Words{};
    asm volatile("" : : "m"(words));  // it matters to whoever compares stacks
  }
}

template void Execution::wipe_stack<Execution::kAccessBytes>();
template void Execution::wipe_stack<Execution::kStepBytes>();

// What it is about, and what is left of its order.
void Execution::prepare(Request& request) {
  using Kind = Request::Kind;
  if (request.kind <= Kind::update) {
    request.location = memory_.location(request.at, request.update.bytes);
  }
  if (!interfered()) return;
  if (program_.sites != nullptr && request.kind != Kind::await && request.kind <= Kind::fence) {
    using Access = SiteList::Access;
    program_.sites->saw(request.source,
                        request.kind == Kind::load     ? Access::load
                        : request.kind == Kind::store  ? Access::store
                        : request.kind == Kind::update ? Access::update
                                                       : Access::fence,
                        request.scope, request.order);
  }
  if (program_.mutation != nullptr) {
    program_.mutation->weaken(request.source, request.scope, request.order);
  }
}

void Execution::watch(Actor& actor, uint32_t location) {
  uint32_t* const end = actor.watches + actor.watched;
  if (std::find(actor.watches, end, location) != end) return;
  if (actor.watched == kMaxWatched) throw std::length_error("a wait looks at too many words");
  actor.watches[actor.watched++] = location;
}

bool Execution::note_guard(std::string_view name, bool holds) const {
  if (program_.sites != nullptr) program_.sites->saw_guard(name);
  const Mutation* mutation = program_.mutation;
  if (mutation == nullptr || mutation->kind != Mutation::Kind::guard_off) return holds;
  return holds && mutation->guard != name;
}

}  // namespace ringer::sim
