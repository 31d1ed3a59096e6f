// SPDX-License-Identifier: Apache-2.0
// The exhaustive search against random executions of random programs, and against a walk that knows
// no state again: nothing may happen that it has not seen.
#include <memory>
#include <random>

#include <ringer/sim/explore/search.hpp>

#include "explore/plain_walk.hpp"
#include "explore/small_program.hpp"
#include "support/catch.hpp"

namespace ringer::test {
namespace {

using sim::ExploreResult;

/// One access of a random program.
struct Step {
  enum Kind {
    load,
    store,
    add,
    cas,
    fence,
    await,
    await_either,
    read,
    write,
    kinds,
    read_behind
  } kind;
  uint32_t word;
  bool ordered;
  uint64_t value;
  uint64_t other;

  template <Scope kScope>
  uint64_t run(const SimPlatform& p, Memory& m) const {
    uint64_t* at = &m.words[word];
    const uint64_t* next = &m.words[(word + 1) % 3];
    switch (kind) {
      case load:
        return ordered ? p.load<kScope, Order::acquire>(at) : p.load<kScope, kRelaxed>(at);
      case store:
        ordered ? p.store<kScope, Order::release>(at, value) : p.store<kScope, kRelaxed>(at, value);
        return 0;
      case add:
        return ordered ? p.fetch_add<kScope, Order::acq_rel>(at, value)
                       : p.fetch_add<kScope, kRelaxed>(at, value);
      case cas:
        return p.compare_exchange<kScope, Order::acq_rel>(at, other, value);
      case fence:
        p.fence<kScope, Order::acq_rel>();
        return 0;
      case await:
        p.wait_until<kScope, Order::acquire>(
            at, [=, this](uint64_t v) { return v != other; }, {}, "w");
        return 0;
      case await_either:
        p.wait_until<kScope, kRelaxed>(
            at, [=, this](uint64_t v) { return v == other || p.load<kScope, kRelaxed>(next) != 0; },
            {}, "w");
        return 0;
      case read_behind:
        if ((ordered ? p.load<kScope, Order::acquire>(at) : p.load<kScope, kRelaxed>(at)) ==
            other) {
          p.read_data(m.data, sizeof(m.data));
        }
        return 0;
      case read:
        p.read_data(m.data, sizeof(m.data));
        return 0;
      default:
        p.write_data(m.data, sizeof(m.data));
        return 0;
    }
  }
};

// What a program makes of what an access has told it: all of it, whether it is zero, or nothing.
enum Use { whole, zero_or_not, nothing, uses };

/// One actor's, in all scopes.
void add_steps(SmallProgram& program, Place place, const std::vector<Step>& steps,
               const std::vector<uint32_t>& scopes, const std::vector<Use>& used) {
  const auto a = static_cast<uint32_t>(program.program().actors.size());
  program.add(place, [=](const SimPlatform& p, Memory& m) {
    for (size_t i = 0; i < steps.size(); ++i) {
      const uint64_t told = scopes[i] == 0   ? steps[i].run<Scope::cta>(p, m)
                            : scopes[i] == 1 ? steps[i].run<Scope::gpu>(p, m)
                                             : steps[i].run<Scope::sys>(p, m);
      m.seen[a][i] = used[i] == whole ? told : used[i] == zero_or_not && told != 0 ? 1 : 0;
    }
  });
}

std::unique_ptr<SmallProgram> random_program(uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto below = [&](uint64_t n) { return static_cast<uint32_t>(random() % n); };
  auto program = std::make_unique<SmallProgram>();
  const uint32_t actors = 2 + below(2);
  program->program().scopes_required = below(4) == 0;
  for (uint32_t a = 0; a < actors; ++a) {
    std::vector<Step> steps(1 + below(kMaxSteps - 1));
    std::vector<uint32_t> scopes;
    std::vector<Use> used;
    for (Step& step : steps) {
      step = {static_cast<Step::Kind>(below(Step::kinds)), below(1 + below(3)), below(2) != 0,
              1 + below(3), below(3)};
      scopes.push_back(below(3));
      used.push_back(static_cast<Use>(below(uses)));
    }
    const Place place = below(2) == 0 ? Place{a, a} : Place{0, below(2)};
    add_steps(*program, place, steps, scopes, used);
  }
  return program;
}

// Many states that differ in nothing but what is known: what is loaded is dropped, but for the end.
std::unique_ptr<SmallProgram> forgetful_program(uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto below = [&](uint64_t n) { return static_cast<uint32_t>(random() % n); };
  auto program = std::make_unique<SmallProgram>();
  for (uint32_t a = 0; a < 3; ++a) {
    std::vector<Step> steps(kMaxSteps - below(2));
    std::vector<Use> used;
    for (size_t i = 0; i < steps.size(); ++i) {
      const bool last = i + 2 >= steps.size();
      steps[i] = {last ? Step::load : static_cast<Step::Kind>(below(Step::await)), below(2),
                  below(2) != 0, 1 + below(2), below(2)};
      used.push_back(last ? whole : nothing);
    }
    // One writes and says so; one reads if he has been told, by now or by an earlier load.
    if (seed % 2 != 0 && a == 0) {
      steps[0] = {Step::write, 0, false, 0, 0};
      steps[1] = {Step::store, 0, below(4) != 0, 1, 0};
    } else if (seed % 2 != 0 && a == 1) {
      steps[0] = {Step::load, 0, true, 0, 0};
      steps[steps.size() - 2] = {Step::read_behind, 0, below(2) != 0, 0, 1};
    }
    add_steps(*program, {a, a}, steps, std::vector<uint32_t>(steps.size(), 2), used);
  }
  return program;
}

// Many actors in two blocks that store the same, and do some things only if they have been told so.
std::unique_ptr<SmallProgram> crowded_program(uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto below = [&](uint64_t n) { return static_cast<uint32_t>(random() % n); };
  auto program = std::make_unique<SmallProgram>();
  program->program().scopes_required = below(8) == 0;
  const uint32_t actors = 3 + below(3);
  for (uint32_t a = 0; a < actors; ++a) {
    std::vector<Step> steps(1 + below(3));
    std::vector<uint32_t> scopes;
    std::vector<bool> conditional;
    for (Step& step : steps) {
      step = {static_cast<Step::Kind>(below(Step::await_either)), below(2), below(2) != 0, 1, 0};
      scopes.push_back(below(3));
      conditional.push_back(below(3) == 0);
    }
    const Place place{below(4) == 0 ? 1u : 0u, below(2)};
    program->add(place, [=](const SimPlatform& p, Memory& m) {
      uint64_t told = 0;
      for (size_t i = 0; i < steps.size(); ++i) {
        if (conditional[i] && told == 0) continue;
        told = scopes[i] == 0   ? steps[i].run<Scope::cta>(p, m)
               : scopes[i] == 1 ? steps[i].run<Scope::gpu>(p, m)
                                : steps[i].run<Scope::sys>(p, m);
        m.seen[a][i] = told;
      }
    });
  }
  return program;
}

// Searches the program, and draws executions to compare if that has come to its end.
ExploreResult search_and_draw(SmallProgram& program, uint64_t seed, uint64_t most,
                              uint64_t executions) {
  const ExploreResult all = explore_all(program.program(), most);
  if (!all.failure.empty()) {
    // A failure is one of the program's own: its schedule brings it back.
    INFO("program " << seed << " " << all.schedule);
    CHECK_FALSE(replay(program.program(), all.schedule).failure.empty());
  }
  if (!all.complete) return all;
  const size_t outcomes = program.outcomes.size();
  const ExploreResult drawn = explore_random(program.program(), seed, executions);
  INFO("program " << seed << ": " << drawn.failure);
  CHECK(drawn.complete);
  CHECK(program.outcomes.size() == outcomes);
  return all;
}

TEST_CASE("a search stands for the executions that a walk without memory takes", "[explore]") {
  if (!sim::Fiber::savable()) return;
  uint64_t walked = 0;
  uint64_t known_again = 0;
  uint64_t covered = 0;
  for (uint64_t seed = 1; seed <= 800; ++seed) {
    const auto program = seed % 4 == 0   ? random_program(seed)
                         : seed % 4 == 1 ? crowded_program(seed)
                                         : forgetful_program(seed);
    const PlainWalk walk(program->program(), 20'000);
    if (walk.gave_up()) continue;
    const auto executions = static_cast<double>(walk.executions());
    const size_t outcomes = program->outcomes.size();
    // Within a bound no state covers another one, and this one keeps nobody from anything.
    const ExploreResult bounded = explore_bounded(program->program(), 1000);
    const ExploreResult all = explore_all(program->program());
    const ExploreResult stateless = explore_stateless(program->program());
    INFO("program " << seed << ": " << all.failure);
    REQUIRE(all.complete);
    CHECK(program->outcomes.size() == outcomes);
    CHECK(bounded.whole == executions);
    REQUIRE(stateless.complete);
    CHECK(stateless.executions - stateless.blocked == walk.executions());
    CHECK(stateless.whole == executions);
    // What is covered by a state that can do more counts as nothing.
    CHECK(all.whole <= executions);
    ++walked;
    known_again += bounded.executions - bounded.blocked < walk.executions();
    covered += all.whole < executions;
  }
  CHECK(walked > 100);
  CHECK(known_again > walked / 4);
  CHECK(covered > walked / 10);
  CHECK(covered < walked);
}

TEST_CASE("no random execution of a random program ends as no searched one does", "[explore]") {
  const uint64_t programs = sim::Fiber::savable() ? 1500 : 100;
  uint64_t whole = 0;
  uint64_t failing = 0;
  for (uint64_t seed = 1; seed <= programs; ++seed) {
    const ExploreResult all = search_and_draw(*random_program(seed), seed, 200'000, 300);
    whole += all.complete;
    failing += !all.failure.empty();
  }
  CHECK(whole > programs / 4);
  CHECK(failing > programs / 20);
}

TEST_CASE("who knows less stands for who knows more, and not the other way round", "[explore]") {
  const uint64_t programs = sim::Fiber::savable() ? 300 : 20;
  uint64_t failing = 0;
  for (uint64_t seed = 1; seed <= programs; ++seed) {
    const ExploreResult all = search_and_draw(*forgetful_program(seed), seed, 1'000'000, 500);
    if (all.failure.empty()) REQUIRE(all.complete);
    failing += !all.failure.empty();
  }
  CHECK(failing > programs / 8);
  CHECK(failing < programs / 2);
}

}  // namespace
}  // namespace ringer::test
