// SPDX-License-Identifier: Apache-2.0
#include <sstream>

#include <nlohmann/json.hpp>

#include "cli_support.hpp"
#include "support/catch.hpp"

namespace ringer::test {
namespace {

CommandResult explore(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "explore");
  return run_ringer(arguments);
}

/// The words of the line that begins with `start`, without it.
std::vector<std::string> words_behind(const std::string& text, const std::string& start) {
  const size_t at = text.find("\n" + start);
  REQUIRE(at != std::string::npos);
  const size_t begin = at + 1 + start.size();
  std::istringstream line(text.substr(begin, text.find('\n', begin) - begin));
  std::vector<std::string> words;
  for (std::string word; line >> word;) words.push_back(word);
  return words;
}

TEST_CASE("explore proves a small shared ring", "[cli][explore]") {
  const CommandResult result =
      explore({"--posters", "2", "--wqes", "1", "--start-index", "4294967295"});
  INFO(result.err);
  CHECK(result.exit_code == 0);
  CHECK(contains(result.out, "executions="));
  CHECK(contains(result.out, "blocked="));
  CHECK(contains(result.out, "complete=yes\n"));
  CHECK(last_line(result.out) == "RESULT OK");
}

TEST_CASE("explore lists scenarios and mutants, one a line", "[cli][explore]") {
  const CommandResult result = explore({"--list"});
  CHECK(result.exit_code == 0);
  CHECK(contains(result.out, "scenario ring\n"));
  CHECK(contains(result.out, "scenario fifo\n"));
  CHECK(contains(result.out, "mutant send_queue.announce.fence.drop\n"));
  CHECK(contains(result.out, "mutant credit.off\n"));
  std::istringstream all(result.out);
  for (std::string line; std::getline(all, line);) {
    CHECK((line.rfind("scenario ", 0) == 0 || line.rfind("mutant ", 0) == 0));
  }
}

TEST_CASE("a failure is shown step by step, and its line brings it back", "[cli][explore]") {
  const CommandResult found =
      explore({"--posters", "2", "--mutant", "send_queue.announce.fence2.drop"});
  CHECK(found.exit_code == 1);
  CHECK(contains(found.out, "complete=no"));
  CHECK(contains(found.out, "FAILED: the record is behind the doorbell\n"));
  CHECK(contains(found.out, " stores qp0.doorbell = "));
  CHECK(contains(found.out, "send_queue.hpp:"));
  std::vector<std::string> again = words_behind(found.out, "replay: ringer ");
  const CommandResult replayed = run_ringer(again);
  CHECK(replayed.exit_code == 1);
  CHECK(contains(replayed.out, "executions=1 "));
  CHECK(contains(replayed.out, "FAILED: the record is behind the doorbell\n"));
  // The same way without the mutation does not fail.
  again.erase(again.begin() + 5, again.begin() + 7);
  CHECK(run_ringer(again).exit_code != 1);
}

TEST_CASE("every mode reports the same as JSON", "[cli][explore]") {
  for (const char* mode : {"exhaustive", "stateless", "bounded", "pct", "random"}) {
    const CommandResult result = explore({"--posters", "2", "--wqes", "1", "--mode", mode,
                                          "--budget", "300", "--seed", "7", "--json", "-"});
    INFO(mode << result.err);
    REQUIRE(result.exit_code == 0);
    const auto json = nlohmann::json::parse(result.out);
    CHECK(json["ok"] == true);
    CHECK(json["as_asked"] == true);
    const std::string name = mode;
    CHECK(json["complete"] == (name == "exhaustive" || name == "stateless"));
    CHECK(json["executions"] > 0);
    CHECK(json["hash"].get<std::string>().size() == 16);
  }
}

TEST_CASE("a budget that is used up is no proof", "[cli][explore]") {
  const CommandResult result = explore({"--posters", "3", "--budget", "100"});
  CHECK(result.exit_code == 0);
  CHECK(contains(result.out, "executions=100 "));
  CHECK(contains(result.out, "complete=no"));
  CHECK(contains(result.out, "# the budget ended before the executions did"));
}

TEST_CASE("long executions are no livelock", "[cli][explore]") {
  const CommandResult result = explore(
      {"--posters", "8", "--wqes", "64", "--ring", "8", "--mode", "random", "--budget", "3"});
  INFO(result.out.substr(0, 500));
  CHECK(result.exit_code == 0);
}

TEST_CASE("explore refuses what it cannot explore, by the option's name", "[cli][explore]") {
  const auto refused = [](std::vector<std::string> arguments, const char* why) {
    const CommandResult result = explore(std::move(arguments));
    INFO(result.err);
    CHECK(result.exit_code == 2);
    CHECK(contains(result.err, why));
    CHECK(result.out.empty());
  };
  refused({"--scenario", "rings"}, "--scenario: no scenario 'rings'");
  refused({"--mutant", "nothing"}, "--mutant: no mutant 'nothing'");
  refused({"--scenario", "fifo", "--posters", "2"}, "--posters: is for --scenario ring");
  refused({"--ring", "3"}, "a power of two");
  refused({"--sharing", "exclusive"}, "an exclusive ring has one poster");
  refused({"--replay", "1"}, "'1' is no schedule");
  refused({"--replay", "0:77"}, "--replay: decision 0 has ");
  refused({"--replay", ""}, "--replay: no schedule");
  refused({"--mutant", "fifo.credit.off"}, "--mutant: 'fifo.credit.off' is where this scenario");
  refused({"--doorbell", "foo"}, "neither each, tail nor a number");
  refused({"--list", "--json", "-"}, "--json: --list and --matrix print text only");
  refused({"--mode", "all"}, "--mode: 'all' is none of");
}

}  // namespace
}  // namespace ringer::test
