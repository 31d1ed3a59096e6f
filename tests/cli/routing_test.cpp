// SPDX-License-Identifier: Apache-2.0
#include "routing.hpp"

#include <cmath>
#include <limits>
#include <set>

#include "support/catch.hpp"

namespace ringer::tools {

namespace {

constexpr RoutingShape kShape{4, 200, 4, 16};

// Different experts in each row, in range, with positive weights that add up to 1.
void require_sound(const RankRouting& rows, const RoutingShape& shape) {
  REQUIRE(rows.tokens == shape.tokens);
  REQUIRE(rows.experts.size() == size_t{shape.tokens} * shape.topk);
  REQUIRE(rows.weights.size() == rows.experts.size());
  for (uint32_t t = 0; t < shape.tokens; ++t) {
    std::set<int32_t> seen;
    double sum = 0;
    for (uint32_t k = 0; k < shape.topk; ++k) {
      const size_t at = size_t{t} * shape.topk + k;
      REQUIRE(rows.experts[at] >= 0);
      REQUIRE(rows.experts[at] < static_cast<int32_t>(shape.experts));
      REQUIRE(rows.weights[at] > 0.0f);
      seen.insert(rows.experts[at]);
      sum += static_cast<double>(rows.weights[at]);
    }
    REQUIRE(seen.size() == shape.topk);
    REQUIRE(std::abs(sum - 1.0) < 1e-5);
  }
}

std::vector<uint32_t> histogram(const RankRouting& rows, uint32_t experts) {
  std::vector<uint32_t> counts(experts);
  for (const int32_t e : rows.experts) {
    if (e >= 0) ++counts[static_cast<size_t>(e)];
  }
  return counts;
}

bool same(const RankRouting& a, const RankRouting& b) {
  return a.experts == b.experts && a.weights == b.weights;
}

}  // namespace

TEST_CASE("generated rows name different experts and weigh them to one", "[routing]") {
  require_sound(uniform_routing()->make(kShape, 0, 1), kShape);
  require_sound(zipf_routing(1.2)->make(kShape, 0, 1), kShape);
  require_sound(zipf_routing(16)->make(kShape, 0, 1), kShape);
}

TEST_CASE("a row can name all experts", "[routing]") {
  const RoutingShape all{1, 20, 8, 8};
  require_sound(uniform_routing()->make(all, 0, 1), all);
  require_sound(zipf_routing(3)->make(all, 0, 1), all);
}

TEST_CASE("a routing is a function of seed and rank", "[routing]") {
  for (const char* how : {"uniform", "zipf:1.2"}) {
    const auto routing = parse_routing(how, 0, kShape.experts);
    const RankRouting rows = routing->make(kShape, 2, 7);
    CHECK(same(rows, routing->make(kShape, 2, 7)));
    CHECK_FALSE(same(rows, routing->make(kShape, 3, 7)));
    CHECK_FALSE(same(rows, routing->make(kShape, 2, 8)));
  }
}

TEST_CASE("uniform routing favours nobody", "[routing]") {
  const RoutingShape shape{1, 20000, 2, 8};
  const double expected = 20000.0 * 2 / 8;
  for (const uint32_t count : histogram(uniform_routing()->make(shape, 0, 3), shape.experts)) {
    CHECK(std::abs(count - expected) < 0.05 * expected);
  }
}

TEST_CASE("zipf routing follows its exponent", "[routing]") {
  const RoutingShape one{1, 20000, 1, 8};
  const auto counts = histogram(zipf_routing(1)->make(one, 0, 3), one.experts);
  CHECK(std::abs(counts[0] / 2.0 - counts[1]) < 0.05 * counts[0]);
  CHECK(std::abs(counts[0] / 8.0 - counts[7]) < 0.05 * counts[0]);
  const auto flat = histogram(zipf_routing(0)->make(one, 0, 3), one.experts);
  CHECK(std::abs(flat[0] - 2500.0) < 250);
}

TEST_CASE("one-hot routing sends all to one expert", "[routing]") {
  const RankRouting rows = one_hot_routing(5)->make(kShape, 1, 1);
  const auto counts = histogram(rows, kShape.experts);
  CHECK(counts[5] == kShape.tokens);
  CHECK(rows.experts[0] == 5);
  CHECK(rows.experts[1] == -1);
  CHECK(rows.weights[0] == 1.0f);
  CHECK_THROWS_AS(one_hot_routing(16)->make(kShape, 0, 1), UsageError);
}

TEST_CASE("more entries than experts are refused", "[routing]") {
  const RoutingShape shape{1, 1, 5, 4};
  CHECK_THROWS_AS(uniform_routing()->make(shape, 0, 1), UsageError);
  CHECK_THROWS_AS(zipf_routing(1)->make(shape, 0, 1), UsageError);
}

TEST_CASE("routing texts are parsed whole", "[routing]") {
  CHECK(parse_routing("uniform", 0, 4) != nullptr);
  CHECK(parse_routing("zipf:0.5", 0, 4) != nullptr);
  CHECK(parse_routing("one-hot", 0, 4) != nullptr);
  CHECK(parse_routing("one-hot:3", 0, 4) != nullptr);
  for (const char* bad :
       {"zipf", "zipf:", "zipf:x", "zipf:1x", "zipf:-1", "zipf:17", "zipf:nan", "zipf:inf",
        "one-hot:", "one-hot:4", "one-hot:-1", "one-hot:1x", "unifrom"}) {
    INFO(bad);
    CHECK_THROWS_AS(parse_routing(bad, 0, 4), UsageError);
  }
  CHECK_THROWS_AS(zipf_routing(std::numeric_limits<double>::quiet_NaN()), UsageError);
}

}  // namespace ringer::tools
