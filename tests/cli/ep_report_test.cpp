// SPDX-License-Identifier: Apache-2.0
#include "ep_report.hpp"

#include <nlohmann/json.hpp>

#include "cli_support.hpp"
#include "support/catch.hpp"

namespace ringer::tools {

namespace {

using test::contains;
using test::last_line;

EpRequest checked_request() {
  EpRequest request;
  request.routing = "uniform";
  request.iterations = 2;
  request.warmup = 1;
  return request;
}

EpIteration iteration(double dispatch_us, uint64_t digest) {
  EpIteration it;
  it.times.dispatch_us = dispatch_us;
  it.times.combine_us = 2 * dispatch_us;
  it.dispatch_bytes = 6000;
  it.combine_bytes = 12000;
  it.digest = digest;
  return it;
}

}  // namespace

TEST_CASE("times are those of timed iterations", "[report]") {
  const EpRequest request = checked_request();
  EpReport report(request);
  report.add(iteration(900, 1), false);
  report.add(iteration(1, 2), true);
  report.add(iteration(3, 3), true);
  const auto root = report.json();
  CHECK(root["rows"][0]["min_us"] == 1.0);
  CHECK(root["rows"][0]["avg_us"] == 2.0);
  CHECK(root["rows"][0]["max_us"] == 3.0);
  CHECK(root["rows"][0]["bytes_per_rank"] == 6000);
  CHECK(root["rows"][0]["algbw_gbps"] == 3.0);
  CHECK(root["rows"][1]["algbw_gbps"] == 3.0);
  CHECK(report.ok());
  CHECK(last_line(report.results()) == "RESULT OK");
}

TEST_CASE("a difference fails the run, even in the warm-up", "[report]") {
  const EpRequest request = checked_request();
  EpReport report(request);
  EpIteration wrong = iteration(1, 1);
  wrong.wrong_combine = 3;
  wrong.first_wrong = "combine: rank 1 token 2 differs";
  report.add(wrong, false);
  report.add(iteration(1, 2), true);
  CHECK_FALSE(report.ok());
  CHECK(last_line(report.results()) == "RESULT FAILED");
  CHECK(contains(report.results(), "# first difference: combine: rank 1 token 2 differs\n"));
  const auto root = report.json();
  CHECK(root["ok"] == false);
  CHECK(root["rows"][0]["wrong"] == 0);
  CHECK(root["rows"][1]["wrong"] == 3);
  CHECK(root["first_difference"] == "combine: rank 1 token 2 differs");
}

TEST_CASE("a run that ended early has no results", "[report]") {
  const EpRequest request = checked_request();
  EpReport report(request);
  report.add(iteration(1, 1), true);
  report.fail("dispatch: rank 0 waits for a flag\nrank 1 waits for a flag");
  CHECK_FALSE(report.ok());
  CHECK(report.results() ==
        "# dispatch: rank 0 waits for a flag\n# rank 1 waits for a flag\nRESULT FAILED\n");
  CHECK(report.json()["rows"].empty());
  CHECK(report.json()["digest"].is_null());
}

TEST_CASE("the digest depends on each iteration and their order", "[report]") {
  const EpRequest request = checked_request();
  const auto digest = [&](std::initializer_list<uint64_t> digests) {
    EpReport report(request);
    for (const uint64_t d : digests) report.add(iteration(1, d), true);
    return report.json()["digest"].get<std::string>();
  };
  CHECK(digest({1, 2}) == digest({1, 2}));
  CHECK(digest({1, 2}) != digest({2, 1}));
  CHECK(digest({1, 1}) != digest({2, 2}));
}

}  // namespace ringer::tools
