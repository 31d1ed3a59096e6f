// SPDX-License-Identifier: Apache-2.0
// Bugs that GPU-initiated stacks have had, each written small, found, and mended.
// RINGER_REPLAY_HISTORY=all prints a line for each that shows it step by step.
#include "explore/history.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <ringer/sim/explore/search.hpp>

#include "support/catch.hpp"

namespace ringer::test {
namespace {

using sim::ExploreResult;

void show(const Bug& bug, const std::string& schedule) {
  BugProgram program(bug, true);
  std::vector<std::string> trace;
  const ExploreResult result = replay(program.program(), schedule, &trace);
  for (const std::string& line : trace) std::printf("%s\n", line.c_str());
  std::printf("%s: %s\n", bug.name, result.failure.c_str());
}

TEST_CASE("bugs that others have had are found, and their mends hold", "[history]") {
  const char* wanted = std::getenv("RINGER_REPLAY_HISTORY");
  const bool all = wanted != nullptr && std::strcmp(wanted, "all") == 0;
  bool shown = wanted == nullptr || all;
  for (const Bug& bug : history()) {
    const size_t length = std::strlen(bug.name);
    if (wanted != nullptr && std::strncmp(wanted, bug.name, length) == 0 && wanted[length] == ' ') {
      show(bug, wanted + length + 1);
      shown = true;
    }
    INFO(bug.name);
    BugProgram faulty(bug, true);
    const ExploreResult found = explore_all(faulty.program());
    CHECK(found.failure.find(bug.shows) == 0);
    const std::string schedule =
        found.failure.empty() ? "-" : shorten(faulty.program(), found.schedule);
    INFO("RINGER_REPLAY_HISTORY=\"" << bug.name << " " << schedule << "\"");
    if (all)
      std::printf("RINGER_REPLAY_HISTORY=\"%s %s\" ringer_sim_tests \"[history]\"\n", bug.name,
                  schedule.c_str());
    CHECK_FALSE(replay(faulty.program(), schedule).failure.empty());
    BugProgram mended(bug, false);
    const ExploreResult held = explore_all(mended.program());
    CHECK(held.failure == "");
    CHECK(held.complete);
  }
  CHECK(shown);  // RINGER_REPLAY_HISTORY has the name of one
  CHECK(history().size() >= 25);
}

}  // namespace
}  // namespace ringer::test
