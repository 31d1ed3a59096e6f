// SPDX-License-Identifier: Apache-2.0
// The ring protocol, explored: what holds in every execution, and that weaker orders do not hold.
#include <ringer/sim/explore/ring_scenario.hpp>

#include "support/catch.hpp"

namespace ringer::test {
namespace {

using sim::ExploreResult;
using sim::RingScenario;
using sim::Weakening;

uint64_t any_start() { return GENERATE(as<uint64_t>{}, 0, 65536 - 1, (uint64_t{1} << 32) - 1); }

ExploreResult enumerate(const RingScenario& scenario) {
  sim::EnumeratedChoices choices;
  return explore_ring(choices, scenario);
}

ExploreResult draw(const RingScenario& scenario, uint64_t executions) {
  sim::RandomChoices choices(1, executions);
  return explore_ring(choices, scenario, false);
}

TEST_CASE("one poster's ring holds in every execution", "[explore]") {
  RingScenario scenario;
  scenario.posters = 1;
  scenario.wqes = 2;
  scenario.sharing = GENERATE(Sharing::exclusive, Sharing::cta, Sharing::gpu);
  scenario.ring_each = GENERATE(true, false);
  scenario.signal_each = GENERATE(true, false);
  scenario.start_index = any_start();
  const ExploreResult result = enumerate(scenario);
  INFO(result.first_failure.failure << " " << result.first_failure.schedule);
  CHECK(result.complete);
  CHECK(result.executions > 1);
}

TEST_CASE("a lone poster's record may trail", "[explore]") {
  RingScenario scenario;
  scenario.posters = 1;
  scenario.wqes = 1;
  scenario.record = RecordOrder::trailing;
  scenario.sharing = GENERATE(Sharing::exclusive, Sharing::gpu);
  scenario.start_index = any_start();
  const ExploreResult result = enumerate(scenario);
  INFO(result.first_failure.failure << " " << result.first_failure.schedule);
  CHECK(result.complete);
}

TEST_CASE("posters that share a ring hold in many executions, past each wrap", "[explore]") {
  RingScenario scenario;
  scenario.posters = GENERATE(2u, 3u);
  scenario.wqes = GENERATE(1u, 2u, 3u);
  scenario.ring_wqebbs = GENERATE(2u, 4u);
  scenario.sharing = GENERATE(Sharing::cta, Sharing::gpu);
  scenario.ring_each = GENERATE(true, false);
  scenario.start_index = any_start();
  const ExploreResult result = draw(scenario, 400);
  INFO(result.first_failure.failure << " " << result.first_failure.schedule);
  CHECK(result.complete);
  CHECK(result.executions == 400);
}

// What each weakening breaks, and where it shows.
TEST_CASE("each kind of order is needed: without it the exploration fails", "[explore]") {
  struct Case {
    Weakening weakening;
    uint32_t posters;
  };
  const Case c = GENERATE(Case{Weakening::no_fences, 1}, Case{Weakening::narrow_fences, 1},
                          Case{Weakening::relaxed_stores, 2}, Case{Weakening::narrow_stores, 2},
                          Case{Weakening::relaxed_loads, 1}, Case{Weakening::relaxed_updates, 2},
                          Case{Weakening::relaxed_updates, 3});
  RingScenario scenario;
  scenario.posters = c.posters;
  scenario.wqes = 3;
  scenario.weakening = c.weakening;
  const ExploreResult found = draw(scenario, 20000);
  INFO("weakening " << static_cast<int>(c.weakening));
  REQUIRE_FALSE(found.complete);

  // The schedule brings it back, in words.
  sim::ReplayedChoices replay(found.first_failure.schedule);
  const ExploreResult again = explore_ring(replay, scenario, false);
  CHECK(again.executions == 1);
  CHECK(again.first_failure.failure == found.first_failure.failure);
  scenario.weakening = Weakening::none;
  CHECK(draw(scenario, 2000).complete);
}

TEST_CASE("a schedule that is none is refused", "[explore]") {
  CHECK_THROWS_AS(sim::ReplayedChoices("1..2"), std::invalid_argument);
  CHECK_THROWS_AS(sim::ReplayedChoices("1.x"), std::invalid_argument);
  CHECK_THROWS_AS(sim::ReplayedChoices("1."), std::invalid_argument);
  sim::ReplayedChoices of_another("9");
  CHECK_THROWS_AS(explore_ring(of_another, {}, false), std::invalid_argument);
  RingScenario none;
  none.ring_wqebbs = 3;
  sim::EnumeratedChoices choices;
  CHECK_THROWS_AS(explore_ring(choices, none), std::invalid_argument);
}

}  // namespace
}  // namespace ringer::test
