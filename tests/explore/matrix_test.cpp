// SPDX-License-Identifier: Apache-2.0
// What the orders and checks of core are needed for: each is weakened, and found.
#include <set>

#include <ringer/sim/explore/arrival_scenario.hpp>
#include <ringer/sim/explore/catalogue.hpp>

#include "support/catch.hpp"

namespace ringer::test {
namespace {

using sim::ArrivalProgram;
using sim::ArrivalScenario;
using sim::ExploreResult;
using sim::FlagPolicy;

TEST_CASE("every scenario of the catalogue holds", "[explore]") {
  for (const sim::Entry& entry : sim::catalogue()) {
    const auto scenario = entry.make();
    const bool whole = entry.whole && sim::Fiber::savable();
    const ExploreResult result =
        whole ? explore_all(scenario->program()) : search(scenario->program(), 4000);
    INFO(entry.name << ": " << result.schedule);
    CHECK(result.failure == "");
    CHECK((result.complete || !whole));
  }
}

TEST_CASE("each order and check is needed: weakened, some scenario fails, and replays",
          "[matrix]") {
  if (!sim::Fiber::savable()) return;
  const std::vector<sim::MatrixRow> matrix = sim::mutation_matrix();
  std::set<std::string> sites;
  for (const sim::MatrixRow& row : matrix) {
    INFO(row.mutation.name << " by " << row.scenario);
    sites.insert(row.mutation.name.substr(0, row.mutation.name.rfind('.')));
    CHECK_FALSE(row.scenario.empty());
    if (row.scenario.empty()) continue;
    for (const sim::Entry& entry : sim::catalogue()) {
      if (entry.name != row.scenario) continue;
      const auto scenario = entry.make();
      scenario->program().mutation = &row.mutation;
      CHECK(replay(scenario->program(), row.result.schedule).failure == row.result.failure);
    }
  }
  CHECK(sites.size() >= 40);
}

TEST_CASE("a flag that is written may pass its payload where writes pass writes", "[explore]") {
  ArrivalProgram reordered(ArrivalScenario{FlagPolicy::strict_write, 1, true, false});
  const ExploreResult result = explore_all(reordered.program());
  CHECK(result.failure.find("data race: receiver reads what is written by nic") == 0);
  for (const FlagPolicy holds : {FlagPolicy::remote_atomic, FlagPolicy::count}) {
    ArrivalProgram program(ArrivalScenario{holds, 2, true, false});
    CHECK(explore_all(program.program()).complete);
  }
}

}  // namespace
}  // namespace ringer::test
