// SPDX-License-Identifier: Apache-2.0
// `ringer bench`: refuses what `ringer ep` refuses, and checks what it times.
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "cli_support.hpp"
#include "support/catch.hpp"

namespace ringer::test {
namespace {

CommandResult bench_ep(std::vector<std::string> more) {
  std::vector<std::string> arguments{"bench",    "ep",  "--ranks", "2", "--tokens",           "8",
                                     "--hidden", "128", "--topk",  "2", "--experts-per-rank", "2",
                                     "--iters",  "3"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_ringer(arguments);
}

TEST_CASE("bench ep times and checks both operations", "[cli][bench]") {
  const CommandResult result = bench_ep({"--json", "-", "--phases", "split"});
  INFO(result.err);
  REQUIRE(result.exit_code == 0);
  const auto root = nlohmann::json::parse(result.out);
  CHECK(root["ok"] == true);
  REQUIRE(root["rows"].size() == 6);
  for (const auto& row : root["rows"]) {
    CHECK(row["launches"] == 3);
    CHECK(row["wrong"] == 0);
    CHECK(row["min_us"] > 0);
    CHECK(row["min_us"] <= row["median_us"]);
    CHECK(row["median_us"] <= row["max_us"]);
  }
}

TEST_CASE("bench ep refuses what cannot run before anything has", "[cli][bench]") {
  const CommandResult no_place = bench_ep({"--json", "/no/such/place"});
  CHECK(no_place.exit_code == 2);
  CHECK(contains(no_place.err, "--json: cannot write '/no/such/place'"));
  CHECK(no_place.out.empty());
  const CommandResult too_large =
      run_ringer({"bench", "ep", "--tokens", "100000", "--ranks", "64"});
  CHECK(too_large.exit_code == 3);
  CHECK(contains(too_large.err, "this shape touches about"));
  CHECK(bench_ep({"--zero-copy"}).exit_code == 2);
}

}  // namespace
}  // namespace ringer::test
