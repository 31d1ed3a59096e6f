// SPDX-License-Identifier: Apache-2.0
// `ringer` with its ranks spread over processes: the same results as in one, and one voice.
#include <fstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "mpirun.hpp"
#include "support/catch.hpp"

namespace ringer::test {
namespace {

using Strings = std::vector<std::string>;

// A shape that takes milliseconds.
const Strings kSmall{"--ranks-per-node", "0", "--tokens",           "8", "--hidden", "128",
                     "--topk",           "3", "--experts-per-rank", "2", "--iters",  "2"};

Strings joined(Strings first, const Strings& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

Strings ep_on(const std::string& processes, const Strings& more) {
  return joined({"-n", processes, RINGER_BINARY, "ep"}, joined(kSmall, more));
}

CommandResult ep(const std::string& processes, const Strings& more = {},
                 const Strings& environment = {}) {
  return mpirun(ep_on(processes, more), environment);
}

std::string digest_of(const CommandResult& result) {
  const size_t at = result.out.find("# digest ");
  return at == std::string::npos ? "" : result.out.substr(at + 9, 16);
}

// One complaint, however many processes: mpirun adds its own lines.
void require_refused(const CommandResult& result, int exit_code, const std::string& cause) {
  INFO(result.out << result.err);
  CHECK(result.exit_code == exit_code);
  CHECK(occurrences(result.err, "ringer: ") == 1);
  CHECK(contains(result.err, "ringer: " + cause));
  CHECK(result.out.find("# ringer") == std::string::npos);
}

}  // namespace

TEST_CASE("several processes find what one finds", "[mpi][processes]") {
  const Strings how = GENERATE(
      Strings{}, Strings{"--dtype", "fp8"}, Strings{"--dtype", "fp8-ue8m0", "--phases", "split"},
      Strings{"--zero-copy", "--blocks", "3", "--warps", "2"}, Strings{"--flags", "atomic"},
      Strings{"--routing", "zipf:1.1", "--seed", "9"}, Strings{"--path", "ipc"});
  const Strings shape = joined({"--ranks", "4"}, how);
  const CommandResult one = run_ringer(joined(joined({"ep"}, kSmall), shape));
  REQUIRE(one.exit_code == 0);
  REQUIRE(digest_of(one).size() == 16);
  for (const char* processes : {"1", "2", "4"}) {
    const CommandResult result = ep(processes, shape);
    INFO(processes << result.out << result.err);
    CHECK(result.exit_code == 0);
    CHECK(digest_of(result) == digest_of(one));
    CHECK(last_line(result.out) == "RESULT OK");
    CHECK(occurrences(result.out, "RESULT") == 1);
    CHECK(result.err.empty());
  }
}

TEST_CASE("there is a rank a process unless more are asked for", "[mpi][processes]") {
  const CommandResult result = ep("3");
  INFO(result.out << result.err);
  CHECK(result.exit_code == 0);
  CHECK(contains(result.out, "# ranks        3 on 1 node, in 3 processes\n"));
  CHECK(contains(result.out, "# 6 x ipc: same node, windows opened by the other process\n"));
  CHECK(contains(ep("2", {"--ranks", "4"}).out, "# 4 x ipc: same node, memory mapped\n"));
  CHECK(contains(ep("1").out, "# ranks        4 on 1 node\n"));
}

TEST_CASE("what one process has to say in JSON is about all ranks", "[mpi][processes]") {
  const CommandResult result = ep("4", {"--json", "-"});
  INFO(result.out << result.err);
  REQUIRE(result.exit_code == 0);
  const auto root = nlohmann::json::parse(result.out);
  const CommandResult one =
      run_ringer(joined(joined({"ep"}, kSmall), {"--ranks", "4", "--json", "-"}));
  const auto expected = nlohmann::json::parse(one.out);
  CHECK(root["shape"]["processes"] == 4);
  CHECK(root["ok"] == true);
  CHECK(root["digest"] == expected["digest"]);
  CHECK(root["paths"] == expected["paths"]);
  for (size_t row = 0; row < 2; ++row) {
    CHECK(root["rows"][row]["bytes_per_rank"] == expected["rows"][row]["bytes_per_rank"]);
    CHECK(root["rows"][row]["wrong"] == 0);
  }
}

TEST_CASE("bench ep takes the slowest of all processes, and checks", "[mpi][processes]") {
  const Strings shape = joined(kSmall, {"--ranks", "4", "--phases", "split", "--json", "-"});
  const CommandResult result =
      mpirun(joined({"-n", "2", RINGER_BINARY}, joined({"bench", "ep"}, shape)));
  INFO(result.out << result.err);
  REQUIRE(result.exit_code == 0);
  const auto root = nlohmann::json::parse(result.out);
  CHECK(root["processes"] == 2);
  REQUIRE(root["rows"].size() == 6);
  for (const auto& row : root["rows"]) {
    CHECK(row["launches"] == 2);
    CHECK(row["wrong"] == 0);
  }
  const auto one = nlohmann::json::parse(run_ringer(joined({"bench", "ep"}, shape)).out);
  CHECK(root["digest"] == one["digest"]);
}

TEST_CASE("what cannot be done in several processes is refused once", "[mpi][processes]") {
  require_refused(ep("2", {"--deterministic"}), 2, "--deterministic: needs one process");
  require_refused(ep("4", {"--ranks", "6"}), 2, "--ranks: 6 is not a multiple of the 4 processes");
  require_refused(ep("2", {"--cq", "x"}), 2, "--cq: 'x' is none of collapsed, owner");
  require_refused(ep("2", {"--frobnicate"}), 2, "The following argument was not expected");
  const std::string kOneProcess =
      "they are in different processes, and the software NIC serves one process";
  require_refused(ep("2", {"--path", "ibgda"}), 3,
                  "rank 0: path ibgda: ranks 0 and 1 cannot connect: " + kOneProcess);
  require_refused(ep("2", {"--path", "fifo"}), 3,
                  "rank 0: path fifo: ranks 0 and 1 cannot connect: " + kOneProcess);
  require_refused(
      mpirun({"-n", "2", RINGER_BINARY, "ep", "--ranks-per-node", "1"}), 3,
      "rank 0: ranks 0 and 1 have no path: they share no memory (different nodes); " + kOneProcess);
  require_refused(ep("2", {"--json", "/no/such/place"}), 2,
                  "process 0: --json: cannot write '/no/such/place'");
}

TEST_CASE("processes with different options do not start", "[mpi][processes]") {
  Strings arguments = ep_on("1", {"--seed", "1"});
  arguments.push_back(":");
  require_refused(mpirun(joined(arguments, ep_on("1", {"--seed", "2"}))), 2,
                  "process 1 was given other options than process 0");
}

TEST_CASE("a rank that fails fails all processes, and is named", "[mpi][processes]") {
  const TemporaryDirectory directory;
  const std::string file = (directory.path() / "result.json").string();
  const CommandResult result =
      mpirun({"-n", "2", RINGER_BINARY, "ep", "--ranks-per-node", "0", "--timeout-ms", "1",
              "--tokens", "4096", "--hidden", "1024", "--iters", "1", "--json", file});
  INFO(result.out << result.err);
  CHECK(result.exit_code == 1);
  CHECK(last_line(result.out) == "RESULT FAILED");
  CHECK(occurrences(result.err, "ringer: rank ") == 1);
  std::ifstream in(file);
  const auto root = nlohmann::json::parse(in);
  CHECK(root["ok"] == false);
  CHECK(root["error"].get<std::string>().starts_with("rank "));
}

TEST_CASE("info speaks once, and knows of MPI", "[mpi][processes]") {
  const CommandResult result = mpirun({"-n", "2", RINGER_BINARY, "info"});
  CHECK(result.exit_code == 0);
  CHECK(occurrences(result.out, "ringer 0.1.0") == 1);
  CHECK(contains(result.out, "\n  mpirun       yes  "));
}

}  // namespace ringer::test
