// SPDX-License-Identifier: Apache-2.0
// The ring protocol, explored: what holds in every execution, and that weaker orders do not hold.
#include <ringer/sim/explore/ring_scenario.hpp>
#include <ringer/sim/explore/search.hpp>

#include "support/catch.hpp"

namespace ringer::test {
namespace {

using sim::ExploreResult;
using sim::RingProgram;
using sim::RingScenario;

uint64_t any_start() { return GENERATE(as<uint64_t>{}, 0, 65536 - 1, (uint64_t{1} << 32) - 1); }

// Where a sanitizer keeps shadows of stacks no states are saved, and all executions of more than
// one poster are too many.
bool many_states() { return sim::Fiber::savable(); }

void check_all(const RingScenario& scenario) {
  RingProgram ring(scenario);
  const ExploreResult result = explore_all(ring.program());
  INFO(result.failure << " " << result.schedule);
  CHECK(result.complete);
  CHECK(result.executions > (scenario.posters > 1 ? 1u : 0u));
}

TEST_CASE("one poster's ring holds in every execution", "[explore]") {
  RingScenario scenario;
  scenario.posters = 1;
  scenario.wqes = 3;
  scenario.sharing = GENERATE(Sharing::exclusive, Sharing::cta, Sharing::gpu);
  scenario.cq_mode = GENERATE(CqMode::collapsed, CqMode::owner_bit);
  scenario.ring_wqebbs = GENERATE(2u, 4u);
  scenario.ring_each = GENERATE(true, false);
  scenario.signal_every = GENERATE(0u, 1u);
  scenario.start_index = any_start();
  check_all(scenario);
}

TEST_CASE("a lone poster's record may trail", "[explore]") {
  RingScenario scenario;
  scenario.posters = 1;
  scenario.wqes = 3;
  scenario.record = RecordOrder::trailing;
  scenario.sharing = GENERATE(Sharing::exclusive, Sharing::gpu);
  scenario.start_index = any_start();
  check_all(scenario);
}

TEST_CASE("posters that share a ring hold in every execution, past each wrap", "[explore]") {
  if (!many_states()) return;
  struct Size {
    uint32_t posters, wqes, ring;
  };
  // It takes three WQEs each for a CQE to be older than what others have said of it.
  const Size size = GENERATE(Size{2, 2, 2}, Size{2, 3, 2}, Size{3, 1, 2}, Size{4, 1, 2});
  RingScenario scenario;
  scenario.posters = size.posters;
  scenario.wqes = size.wqes;
  scenario.ring_wqebbs = size.ring;
  scenario.sharing = GENERATE(Sharing::cta, Sharing::gpu);
  scenario.start_index = any_start();
  check_all(scenario);
}

TEST_CASE("a served ring holds in every execution", "[explore]") {
  RingScenario scenario;
  scenario.rung_by = RungBy::server;
  scenario.sharing = GENERATE(Sharing::exclusive, Sharing::cta, Sharing::gpu);
  scenario.posters = scenario.sharing == Sharing::exclusive ? 1 : 2;
  if (scenario.posters > 1 && !many_states()) return;
  scenario.wqes = 2;
  scenario.start_index = any_start();
  check_all(scenario);
}

TEST_CASE("signals go out in WQE order in every execution", "[explore]") {
  RingScenario scenario;
  scenario.signals = true;
  scenario.posters = many_states() ? 2 : 1;
  scenario.wqes = 2;
  scenario.ring_each = GENERATE(true, false);
  scenario.ring_wqebbs = 4;
  scenario.start_index = any_start();
  check_all(scenario);
}

TEST_CASE("every poster leaves a queue that has failed, in every execution", "[explore]") {
  RingScenario scenario;
  scenario.posters = 2;
  scenario.wqes = 1;
  scenario.fails_at = GENERATE(1u, 2u);
  if (!many_states()) return;
  check_all(scenario);
}

TEST_CASE("larger rings hold in many executions", "[explore]") {
  RingScenario scenario;
  scenario.posters = 3;
  scenario.wqes = GENERATE(2u, 4u);
  scenario.ring_wqebbs = GENERATE(2u, 4u, 8u);
  scenario.batch = scenario.ring_wqebbs / 2;
  scenario.sharing = GENERATE(Sharing::cta, Sharing::gpu);
  scenario.cq_mode = GENERATE(CqMode::collapsed, CqMode::owner_bit);
  scenario.start_index = any_start();
  RingProgram ring(scenario);
  const ExploreResult drawn = explore_random(ring.program(), 1, 300);
  INFO(drawn.failure << " " << drawn.schedule);
  CHECK(drawn.complete);
  const ExploreResult by_priority = explore_pct(ring.program(), 1, 100, 3, 200);
  INFO(by_priority.failure << " " << by_priority.schedule);
  CHECK(by_priority.complete);
}

TEST_CASE("posters that are alike need not begin in all orders", "[explore]") {
  RingScenario scenario;
  scenario.posters = GENERATE(2u, 3u);
  scenario.cq_mode = GENERATE(CqMode::collapsed, CqMode::owner_bit);
  RingProgram ordered(scenario);
  RingProgram whole(scenario);
  whole.program().alike = 0;
  const ExploreResult some = explore_all(ordered.program());
  const ExploreResult all = explore_all(whole.program());
  INFO(some.failure << all.failure);
  CHECK(some.complete);
  CHECK(all.complete);
  CHECK(some.executions < all.executions);
  CHECK(some.max_depth == all.max_depth);
}

TEST_CASE("the same seed makes the same run", "[explore]") {
  RingScenario scenario;
  scenario.posters = 3;
  scenario.wqes = 2;
  RingProgram ring(scenario);
  RingProgram again(scenario);
  const ExploreResult first = explore_random(ring.program(), 7, 50);
  CHECK(first.hash == explore_random(again.program(), 7, 50).hash);
  CHECK(first.hash == 16354385795214613213u);
  CHECK(first.hash != explore_random(ring.program(), 8, 50).hash);
}

TEST_CASE("a schedule that is none is refused", "[explore]") {
  RingProgram ring({});
  CHECK_THROWS_AS(replay(ring.program(), "1..2"), std::invalid_argument);
  CHECK_THROWS_AS(replay(ring.program(), "1:x"), std::invalid_argument);
  CHECK_THROWS_AS(replay(ring.program(), "3:1,2:1"), std::invalid_argument);
  CHECK_THROWS_AS(replay(ring.program(), "0:99"), std::invalid_argument);
  CHECK_THROWS_AS(replay(ring.program(), "9999:1"), std::invalid_argument);
  CHECK(replay(ring.program(), "-").complete);
}

TEST_CASE("a scenario that is none is refused", "[explore]") {
  RingScenario scenario;
  scenario.ring_wqebbs = 3;
  CHECK_THROWS_AS(RingProgram(scenario), std::invalid_argument);
  scenario = {};
  scenario.sharing = Sharing::exclusive;
  CHECK_THROWS_AS(RingProgram(scenario), std::invalid_argument);
}

}  // namespace
}  // namespace ringer::test
