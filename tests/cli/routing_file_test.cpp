// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "cli_support.hpp"
#include "routing.hpp"
#include "support/catch.hpp"

namespace ringer::tools {

namespace {

using test::contains;
using test::TemporaryDirectory;

constexpr uint32_t kExperts = 8;

// The reason for which a file of this content is refused; empty if it is not.
std::string refusal(const std::string& text, uint32_t topk = 0) {
  const TemporaryDirectory directory;
  try {
    const FileRouting routing(directory.write("routing", text), topk, kExperts);
  } catch (const UsageError& e) {
    return e.what();
  }
  return {};
}

}  // namespace

TEST_CASE("a CSV file is dealt to ranks in blocks", "[routing][file]") {
  const TemporaryDirectory directory;
  const FileRouting routing(directory.write("r.csv",
                                            "token,e1,e2,w1,w2\n"
                                            "0,1,2,0.25,0.75\n"
                                            "1, 3 ,-1,1,0\r\n"
                                            "\n"
                                            "2,7,7,0.5,0.5\n"),
                            0, kExperts);
  CHECK(routing.tokens() == 3);
  CHECK(routing.topk() == 2);
  const RoutingShape shape{3, 2, 2, kExperts};
  const RankRouting first = routing.make(shape, 0, 1);
  CHECK(first.tokens == 2);
  CHECK(first.experts == std::vector<int32_t>{1, 2, 3, -1});
  CHECK(first.weights == std::vector<float>{0.25f, 0.75f, 1.0f, 0.0f});
  const RankRouting second = routing.make(shape, 1, 1);
  CHECK(second.tokens == 1);
  CHECK(second.experts == std::vector<int32_t>{7, 7});
  CHECK(routing.make(shape, 2, 1).tokens == 0);
  CHECK(routing.make(shape, 0, 99).experts == first.experts);
  CHECK_THROWS_AS(routing.make({1, 4, 3, kExperts}, 0, 1), UsageError);
}

TEST_CASE("JSON lines say the same as CSV", "[routing][file]") {
  const TemporaryDirectory directory;
  const FileRouting csv(directory.write("a", "0,1,2,0.25,0.75\n1,3,-1,1,0"), 2, kExperts);
  const FileRouting json(
      directory.write("b",
                      "{\"token\": 0, \"experts\": [1, 2], \"weights\": [0.25, 0.75]}\n"
                      "{\"token\": 1, \"experts\": [3, -1], \"weights\": [1, 0]}\n"),
      2, kExperts);
  const RoutingShape shape{1, 2, 2, kExperts};
  CHECK(csv.make(shape, 0, 1).experts == json.make(shape, 0, 1).experts);
  CHECK(csv.make(shape, 0, 1).weights == json.make(shape, 0, 1).weights);
}

TEST_CASE("a bad line is named with its number and reason", "[routing][file]") {
  const std::string good = "0,1,2,0.5,0.5\n";
  const auto check = [&](const std::string& line, const std::string& reason) {
    const std::string text = refusal(good + line + "\n");
    INFO(line << " -> " << text);
    CHECK(contains(text, "line 2: "));
    CHECK(contains(text, reason));
  };
  check("1,x,2,0.5,0.5", "'x' is not a number");
  check("1,,2,0.5,0.5", "'' is not a number");
  check("1,1.5,2,0.5,0.5", "'1.5' is not a number");
  check("1,1,2,0.5,abc", "'abc' is not a number");
  check("1,1,2,0.5,0.5,", "6 fields");
  check("1,1,0.5", "1 experts where 2 are expected");
  check("1,8,2,0.5,0.5", "expert 8 is not -1 to 7");
  check("1,-2,2,0.5,0.5", "expert -2 is not -1 to 7");
  check("1,99999999999,2,0.5,0.5", "expert 99999999999");
  check("1,1,2,nan,0.5", "not finite");
  check("1,1,2,1e99,0.5", "'1e99' is not a number");
  check("5,1,2,0.5,0.5", "token 5 where 1 is expected");
  check("-1,1,2,0.5,0.5", "token -1 where 1 is expected");
  check("token,e1,e2,w1,w2", "'token' is not a number");
  check("{\"token\": 1", "not a JSON object");
  check("{\"token\": 1, \"experts\": [1, 2]}", "no \"weights\"");
  check("{\"token\": 1, \"experts\": 1, \"weights\": [1]}", "must be arrays");
  check("{\"token\": 1, \"experts\": [1, 2], \"weights\": [1]}", "2 experts but 1 weights");
  check("{\"token\": 1, \"experts\": [1, \"a\"], \"weights\": [1, 1]}", "not a whole number");
  check("{\"token\": 1, \"experts\": [1, 2], \"weights\": [1, null]}", "not a number");
  check("{\"token\": 1, \"experts\": [1, 18446744073709551615], \"weights\": [1, 1]}", "expert ");
}

TEST_CASE("several bad lines are counted, ten are listed", "[routing][file]") {
  const std::string two = refusal("0,1,2,1,1\n1,9,2,1,1\n2,1,2,1,1\n3,1,9,1,1\n");
  CHECK(contains(two, "line 2: "));
  CHECK(contains(two, "(2 bad lines: 2, 4)"));
  std::string many;
  for (int t = 0; t < 30; ++t) many += std::to_string(t) + ",9,1\n";
  const std::string text = refusal(many);
  CHECK(contains(text, "(30 bad lines: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ...)"));
  CHECK_FALSE(contains(text, "\n"));
}

TEST_CASE("a file must hold tokens of the right width", "[routing][file]") {
  CHECK(contains(refusal(""), "holds no tokens"));
  CHECK(contains(refusal("\n\n"), "holds no tokens"));
  CHECK(contains(refusal("token,e1,w1\n"), "holds no tokens"));
  CHECK(contains(refusal("0,1,2,0.5,0.5\n", 4), "2 experts where 4 are expected"));
  CHECK(contains(refusal("{\"token\": 0, \"experts\": [], \"weights\": []}\n"), "1 to 64"));
  const TemporaryDirectory directory;
  CHECK_THROWS_AS(FileRouting(directory.path().string(), 0, kExperts), UsageError);
  CHECK_THROWS_AS(FileRouting((directory.path() / "absent").string(), 0, kExperts), UsageError);
}

}  // namespace ringer::tools
