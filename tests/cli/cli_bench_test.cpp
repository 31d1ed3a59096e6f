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
  const CommandResult unchecked = bench_ep({"--no-check"});
  CHECK(unchecked.exit_code == 2);
  CHECK(contains(unchecked.err, "a benchmark checks what it has timed"));
}

CommandResult bench(const std::string& what, std::vector<std::string> more) {
  std::vector<std::string> arguments{"bench", what};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_ringer(arguments);
}

TEST_CASE("bench post prints a row for each shape, each checked", "[cli][bench]") {
  const CommandResult table = bench("post", {"-a"});
  INFO(table.err);
  REQUIRE(table.exit_code == 0);
  CHECK(lines(table.out) == 13);
  CHECK(last_line(table.out) == "RESULT OK");
  const CommandResult one =
      bench("post", {"--json", "-", "-n", "64", "--blocks", "2", "--warps", "2", "-q", "3",
                     "--launches", "4", "--doorbell", "0", "--record", "trailing"});
  REQUIRE(one.exit_code == 0);
  const auto root = nlohmann::json::parse(one.out);
  CHECK(root["ok"] == true);
  REQUIRE(root["rows"].size() == 1);
  const auto& row = root["rows"][0];
  CHECK(row["launches"] == 4);
  CHECK(row["queue_pairs"] == 3);
  CHECK(row["doorbell"] == "last");
  CHECK(row["wrong"] == 0);
  CHECK(row["ns_per_wqe_median"] > 0);
  CHECK(row["mwqes_per_s_best"] >= row["mwqes_per_s_median"]);
}

TEST_CASE("bench post serves rings by warps, servers and the software NIC", "[cli][bench]") {
  const std::vector<std::vector<std::string>> shapes{
      {"--rung-by", "server", "--warps", "3"},
      {"--nic", "sim", "--warps", "4", "--ring-wqebbs", "16"},
      {"--nic", "sim", "--sharing", "cta", "--blocks", "2", "--warps", "2", "--batch", "8"},
      {"--nic", "sim", "--sharing", "exclusive", "--blocks", "2", "--rung-by", "server"},
      {"--nic", "sim", "--record", "trailing", "-s", "4096"}};
  for (std::vector<std::string> shape : shapes) {
    shape.insert(shape.end(), {"-n", "256", "--launches", "2"});
    const CommandResult result = bench("post", shape);
    INFO(shape[1] << ' ' << shape[3] << ": " << result.err);
    CHECK(result.exit_code == 0);
    CHECK(last_line(result.out) == "RESULT OK");
  }
}

TEST_CASE("bench put_bw and pingpong take perftest's flags", "[cli][bench]") {
  const CommandResult sizes =
      bench("put_bw", {"-a", "-n", "20", "-q", "2", "--launches", "2", "--json", "-"});
  INFO(sizes.err);
  REQUIRE(sizes.exit_code == 0);
  const auto bandwidth = nlohmann::json::parse(sizes.out);
  REQUIRE(bandwidth["rows"].size() == 23);
  CHECK(bandwidth["rows"][0]["bytes"] == 2);
  CHECK(bandwidth["rows"][22]["bytes"] == 8388608);
  for (const auto& row : bandwidth["rows"]) {
    CHECK(row["messages"] == 40);
    CHECK(row["wrong"] == 0);
  }
  const CommandResult trips = bench("pingpong", {"-s", "100", "-n", "50", "--json", "-"});
  INFO(trips.err);
  REQUIRE(trips.exit_code == 0);
  const auto latency = nlohmann::json::parse(trips.out);
  REQUIRE(latency["rows"].size() == 1);
  const auto& row = latency["rows"][0];
  CHECK(row["round_trips"] == 50);
  CHECK(row["wrong"] == 0);
  CHECK(row["min_us"] <= row["median_us"]);
  CHECK(row["median_us"] <= row["p99_us"]);
  CHECK(row["p99_us"] <= row["max_us"]);
  CHECK(bench("put_bw", {"-D", "1", "-n", "20", "-s", "8"}).exit_code == 0);
}

TEST_CASE("benchmarks refuse shapes that make no sense, by the option's name", "[cli][bench]") {
  const auto refused = [](const char* what, std::vector<std::string> arguments, const char* why) {
    const CommandResult result = bench(what, std::move(arguments));
    INFO(result.err);
    CHECK(result.exit_code == 2);
    CHECK(contains(result.err, why));
    CHECK(result.out.empty());
  };
  refused("post", {"-n", "5", "--batch", "2"}, "are not posts of 2");
  refused("post", {"-n", "100000"}, "do not fit into a ring");
  refused("post", {"-a", "-n", "5"}, "--iters: --all takes its own shapes");
  refused("post", {"-a", "--sharing", "cta"}, "--sharing: --all takes its own shapes");
  refused("post", {"--ring-wqebbs", "100"}, "--ring-wqebbs: must be a power of two");
  refused("post", {"--nic", "sim", "--placement", "gpu"}, "does not reach rings in GPU memory");
  refused("post", {"--sharing", "exclusive", "--warps", "2", "-q", "1"}, "as many as warps");
  refused("post", {"--rung-by", "server", "--record", "trailing"}, "a server's records");
  refused("post", {"--sharing", "all"}, "--sharing: 'all' is none of");
  refused("post", {"--warps", "33"}, "--warps: '33'");
  refused("put_bw", {"-s", "0"}, "--size: '0'");
  refused("put_bw", {"-a", "-s", "8"}, "--size: --all takes every size");
  refused("pingpong", {"--json", "/no/such/place"}, "--json: cannot write");
}

}  // namespace
}  // namespace ringer::test
