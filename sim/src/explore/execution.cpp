// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include <ringer/sim/explore/execution.hpp>

namespace ringer::sim {

namespace {

constexpr size_t kStackBytes = 64 * 1024;

std::vector<MemoryModel::ActorFacts> facts_of(const std::vector<ActorSpec>& actors) {
  std::vector<MemoryModel::ActorFacts> facts;
  facts.reserve(actors.size());
  for (const ActorSpec& actor : actors) facts.push_back({actor.name, actor.place});
  return facts;
}

}  // namespace

Execution::Execution(Choices& choices, const std::vector<ActorSpec>& actors, FiberPool& fibers,
                     bool reduce)
    : specs_(actors),
      choices_(choices),
      reduce_(reduce),
      memory_(choices, facts_of(actors)),
      fibers_(fibers),
      next_(actors.size()),
      looks_(actors.size()),
      asleep_(actors.size()) {
  while (fibers_.size() < actors.size()) fibers_.push_back(std::make_unique<Fiber>(kStackBytes));
  for (uint32_t a = 0; a < actors.size(); ++a) {
    fibers_[a]->start([this, a] { specs_[a].body(SimPlatform(*this, a)); });
    fibers_[a]->resume();  // to its first access
  }
}

Execution::~Execution() {
  for (uint32_t a = 0; a < specs_.size(); ++a) {
    if (!fibers_[a]->finished()) fibers_[a]->cancel();
  }
}

std::string Execution::run() {
  std::vector<uint32_t> ready;
  while (failure_.empty()) {
    ready.clear();
    bool all_done = true;
    bool any_asleep = false;
    for (uint32_t i = 0; i < specs_.size(); ++i) {
      // Whoever moved last comes first, so that choice 0 changes over as seldom as can be.
      const auto actor = static_cast<uint32_t>((last_ + i) % specs_.size());
      if (fibers_[actor]->finished()) continue;
      all_done = false;
      if (!can_move(actor)) continue;
      any_asleep = any_asleep || asleep_[actor];
      if (!asleep_[actor]) ready.push_back(actor);
    }
    if (all_done) return {};
    if (ready.empty()) {
      pruned_ = any_asleep;
      return pruned_ ? std::string() : deadlock();
    }
    last_ = pick(ready);
    wake(last_);
    fibers_[last_]->resume();
    if (!memory_.race().empty()) fail("data race: " + memory_.race());
  }
  return failure_;
}

// The actors before the chosen one have had their turn here, in an earlier execution: they sleep
// until somebody does what theirs depends on.
uint32_t Execution::pick(const std::vector<uint32_t>& ready) {
  const uint32_t choice = choices_.choose(static_cast<uint32_t>(ready.size()));
  const uint32_t actor = ready[choice];
  if (!reduce_) return actor;
  for (uint32_t i = 0; i < choice; ++i) asleep_[ready[i]] = true;
  for (uint32_t a = 0; a < specs_.size(); ++a) {
    if (asleep_[a] && dependent(next_[a], next_[actor])) asleep_[a] = false;
  }
  return actor;
}

bool Execution::dependent(const Next& a, const Next& b) {
  if (!a.writes && !b.writes) return false;
  return std::any_of(a.words.begin(), a.words.end(), [&](const void* word) {
    return std::find(b.words.begin(), b.words.end(), word) != b.words.end();
  });
}

std::string Execution::deadlock() const {
  std::string text = "deadlock:";
  for (uint32_t a = 0; a < specs_.size(); ++a) {
    if (!fibers_[a]->finished()) text += " " + specs_[a].name + " at '" + next_[a].site + "'";
  }
  return text;
}

void Execution::interleave(uint32_t actor, const void* at, bool writes) {
  looks_[actor].push_back(at);
  next_[actor] = {nullptr, writes, {at}};
  fibers_[actor]->suspend();
}

void Execution::wait(uint32_t actor, const char* site) {
  next_[actor] = {site, false, looks_[actor]};
  fibers_[actor]->suspend();
}

// A wait looks again when there is something newer in one of the words that it has read.
bool Execution::can_move(uint32_t actor) const {
  const Next& next = next_[actor];
  return next.site == nullptr ||
         std::any_of(next.words.begin(), next.words.end(),
                     [&](const void* word) { return memory_.has_newer(actor, word); });
}

// To read the same again would be no step, so one of the words must be newer this time.
void Execution::wake(uint32_t actor) {
  Next& next = next_[actor];
  if (next.site == nullptr) return;
  std::erase_if(next.words, [&](const void* word) { return !memory_.has_newer(actor, word); });
  memory_.skip_one(actor, next.words[choices_.choose(static_cast<uint32_t>(next.words.size()))]);
  next.site = nullptr;
}

ExploreResult explore(Choices& choices, const std::function<std::vector<ActorSpec>()>& make,
                      const std::function<std::string(MemoryModel&)>& check, bool reduce) {
  ExploreResult result;
  Execution::FiberPool fibers;
  while (choices.next_execution()) {
    const std::vector<ActorSpec> actors = make();
    Execution execution(choices, actors, fibers, reduce);
    std::string failure = execution.run();
    if (execution.pruned()) {
      ++result.pruned;
      continue;
    }
    ++result.executions;
    if (failure.empty()) failure = check(execution.memory());
    if (!failure.empty()) {
      result.first_failure = {failure, choices.schedule()};
      return result;
    }
  }
  result.complete = true;
  return result;
}

}  // namespace ringer::sim
