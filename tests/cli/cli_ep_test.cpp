// SPDX-License-Identifier: Apache-2.0
#include <fstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "cli_support.hpp"
#include "support/catch.hpp"

namespace ringer::test {

namespace {

using Strings = std::vector<std::string>;

// A shape that takes milliseconds.
const Strings kSmall{"ep",  "--ranks",        "2", "--tokens",           "8", "--hidden",
                     "128", "--topk",         "2", "--experts-per-rank", "2", "--iters",
                     "2",   "--deterministic"};

CommandResult small(const Strings& more = {}, const Strings& environment = {}) {
  Strings all = kSmall;
  all.insert(all.end(), more.begin(), more.end());
  return run_ringer(all, environment);
}

// Refused before anything has run: nothing on stdout, a line of cause and a line of advice.
void require_refused(const CommandResult& result, int exit_code, const std::string& cause) {
  INFO(result.err);
  CHECK(result.exit_code == exit_code);
  CHECK(result.out.empty());
  CHECK(lines(result.err) == 2);
  CHECK(result.err.starts_with("ringer: "));
  CHECK(contains(result.err, cause));
  CHECK((contains(result.err, "\ntry 'ringer ") || contains(result.err, "\nrun 'ringer info'")));
}

std::string digest_of(const CommandResult& result) {
  const size_t at = result.out.find("# digest ");
  return at == std::string::npos ? "" : result.out.substr(at + 9, 16);
}

size_t rows_of(const CommandResult& result) {
  size_t rows = 0;
  for (size_t at = 0; at < result.out.size(); at = result.out.find('\n', at) + 1) {
    rows += result.out.compare(at, 2, "  ") == 0 ? 1 : 0;
  }
  return rows;
}

}  // namespace

TEST_CASE("ep prints header, table, footer and verdict", "[cli]") {
  const CommandResult result = small();
  INFO(result.out << result.err);
  CHECK(result.exit_code == 0);
  CHECK(result.err.empty());
  CHECK(last_line(result.out) == "RESULT OK");
  CHECK(rows_of(result) == 2);
  CHECK(contains(result.out, "\n  dispatch "));
  CHECK(contains(result.out, "\n  combine "));
  CHECK(contains(result.out, "# tier         T0 laptop: software NIC; backend sim\n"));
  CHECK(contains(result.out, "# queue pairs  4,"));
  CHECK(contains(result.out, "WQEs per doorbell"));
  CHECK(digest_of(result).size() == 16);
}

TEST_CASE("split phases have rows of their own", "[cli]") {
  const CommandResult result = small({"--phases", "split", "--zero-copy"});
  CHECK(result.exit_code == 0);
  CHECK(rows_of(result) == 6);
  for (const char* row : {"dispatch send", "dispatch receive", "combine send", "combine receive"}) {
    CHECK(contains(result.out, std::string("\n  ") + row));
  }
}

TEST_CASE("results depend on the seed and on nothing else", "[cli]") {
  const std::string digest = digest_of(small());
  CHECK(digest_of(small()) == digest);
  CHECK(digest_of(small({"--seed", "2"})) != digest);
  for (const Strings& how :
       {Strings{"--path", "ipc"}, Strings{"--path", "fifo"}, Strings{"--path", "ibgda"},
        Strings{"--doorbell", "every:3"}, Strings{"--doorbell", "adaptive"},
        Strings{"--cq", "owner"}, Strings{"--flags", "atomic"}, Strings{"--ring-wqebbs", "8"},
        Strings{"--phases", "split"}, Strings{"--zero-copy"}, Strings{"--ranks-per-node", "0"},
        Strings{"--blocks", "1", "--warps", "1"}}) {
    INFO(how[0]);
    const CommandResult result = small(how);
    CHECK(result.exit_code == 0);
    CHECK(digest_of(result) == digest);
  }
}

TEST_CASE("threads find what the deterministic run finds", "[cli][threads]") {
  CHECK(digest_of(small({}, {"RINGER_EP_DETERMINISTIC=0"})) == digest_of(small()));
  Strings threaded = kSmall;
  threaded.pop_back();
  CHECK(digest_of(run_ringer(threaded)) == digest_of(small()));
}

TEST_CASE("without check nothing is claimed to be right", "[cli]") {
  const CommandResult result = small({"--no-check"});
  CHECK(result.exit_code == 0);
  CHECK(contains(result.out, "N/A\n"));
  CHECK(contains(result.out, "# digest N/A"));
  CHECK(digest_of(small({"--no-check", "--check"})).size() == 16);
}

TEST_CASE("the environment sets what the command line does not", "[cli]") {
  const CommandResult from_environment =
      run_ringer({"ep"}, {"RINGER_EP_RANKS=2", "RINGER_EP_TOKENS=8", "RINGER_EP_HIDDEN=128",
                          "RINGER_EP_TOPK=2", "RINGER_EP_EXPERTS_PER_RANK=2", "RINGER_EP_ITERS=2",
                          "RINGER_EP_DETERMINISTIC=yes", "RINGER_EP_JSON="});
  CHECK(from_environment.exit_code == 0);
  CHECK(from_environment.err.empty());
  CHECK(digest_of(from_environment) == digest_of(small()));
  CHECK(digest_of(small({}, {"RINGER_EP_TOKENS=4"})) == digest_of(small()));
  CHECK(contains(small({}, {"RINGER_EP_CHECK=0"}).out, "digest N/A"));
  CHECK(digest_of(small({"--check"}, {"RINGER_EP_CHECK=0"})).size() == 16);
}

TEST_CASE("a bad variable is named", "[cli]") {
  require_refused(run_ringer({"ep"}, {"RINGER_EP_TOKENS=many"}), 2, "RINGER_EP_TOKENS: 'many'");
  require_refused(run_ringer({"ep"}, {"RINGER_EP_CHECK=maybe"}), 2, "RINGER_EP_CHECK: 'maybe'");
  require_refused(run_ringer({"ep"}, {"RINGER_EP_DTYPE=int4"}), 2, "RINGER_EP_DTYPE: 'int4'");
  require_refused(run_ringer({"ep"}, {"RINGER_EP_RANKS_PER_NODE=-1"}), 2,
                  "RINGER_EP_RANKS_PER_NODE: '-1'");
}

TEST_CASE("bad numbers are refused in one line", "[cli]") {
  for (const char* name :
       {"--ranks", "--tokens", "--hidden", "--topk", "--experts-per-rank", "--iters", "--blocks",
        "--warps", "--timeout-ms", "--ring-wqebbs", "--fifos", "--fifo-depth", "--sim-max-qps"}) {
    for (const char* bad : {"0", "-1", "x", "1.5", "1e3", "0x10", "99999999999999999999999", ""}) {
      INFO(name << " " << bad);
      const CommandResult result = run_ringer({"ep", name, bad});
      require_refused(result, 2, name);
      CHECK(contains(result.err, "try 'ringer ep --help'"));
    }
  }
  require_refused(run_ringer({"ep", "--seed", "-1"}), 2, "--seed: '-1'");
  require_refused(run_ringer({"ep", "--warmup", "x"}), 2, "--warmup: 'x'");
}

TEST_CASE("requests that make no sense are refused in one line", "[cli]") {
  const auto refused = [](const Strings& arguments, const std::string& cause) {
    Strings all{"ep"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    require_refused(run_ringer(all), 2, cause);
  };
  refused({"--hidden", "100"}, "--hidden: 100 is not a multiple of 128");
  refused({"--ring-wqebbs", "100"}, "--ring-wqebbs: 100 is not a power of two");
  refused({"--fifo-depth", "48"}, "--fifo-depth: 48 is not a power of two");
  refused({"--topk", "33"}, "--topk: 33 is more than the 32 experts");
  refused({"--topk", "65"}, "--topk: '65' is not a whole number from 1 to 64");
  refused({"--ranks-per-node", "5"}, "--ranks-per-node: 5 is more than the 4 ranks");
  refused({"--path", "ipc", "--ranks-per-node", "2"}, "--path: ipc needs all ranks on one node");
  refused({"--path", "tcp"}, "--path: 'tcp' is none of auto, ibgda, ipc, fifo");
  refused({"--dtype", "fp4"}, "--dtype: 'fp4' is none of");
  refused({"--flags", "x"}, "--flags: 'x' is none of write, atomic");
  refused({"--cq", "x"}, "--cq: 'x' is none of collapsed, owner");
  refused({"--phases", "x"}, "--phases: 'x' is none of both, split");
  refused({"--doorbell", "every"}, "--doorbell: 'every' is none of tail, every:K, adaptive");
  refused({"--doorbell", "every:0"}, "--doorbell: 'every:0' needs a number");
  refused({"--doorbell", "every:x"}, "--doorbell: 'every:x' needs a number");
  refused({"--blocks", "1024", "--warps", "32"}, "--blocks: 4 ranks x 1024 blocks x 32 warps");
  refused({"--backend", "infiniband"}, "--backend: 'infiniband' is none of sim, mlx5, verbs");
  refused({"--routing", "zipf"}, "--routing: zipf needs an exponent");
  refused({"--routing", "one-hot:32"}, "--routing: 'one-hot:32' needs an expert from 0 to 31");
  refused({"--frobnicate"}, "--frobnicate");
  refused({"extra"}, "extra");
  refused({"--ranks"}, "--ranks");
  refused({"--ranks", "2", "--ranks", "4"}, "--ranks");
  refused({"--check=x"}, "--check: 'x' is none of");
}

TEST_CASE("subcommands are required and known", "[cli]") {
  require_refused(run_ringer({}), 2, "subcommand is required");
  require_refused(run_ringer({"frobnicate"}), 2, "there is no subcommand 'frobnicate'");
}

TEST_CASE("what this build or this NIC cannot do is the environment's fault", "[cli]") {
  // For want of a device, of a kernel that knows any, or of the backend.
  for (const char* backend : {"mlx5", "verbs"}) {
    require_refused(run_ringer({"ep", "--backend", backend}, {"RINGER_IB_HCA==no_such_nic"}), 3,
                    "verbs");
  }
  require_refused(run_ringer({"ep", "--sim-max-qps", "23"}), 3, "needs 24 queue pairs");
  require_refused(run_ringer({"ep", "--ranks", "64", "--tokens", "1048576"}), 3, "GiB");
}

#if defined(RINGER_WITH_VERBS)
TEST_CASE("a misspelt variable is refused, not ignored", "[cli]") {
  for (const char* backend : {"mlx5", "verbs"}) {
    require_refused(run_ringer({"ep", "--backend", backend}, {"RINGER_IB_TIMEOT=3"}), 2,
                    "RINGER_IB_TIMEOT is none of RINGER_IB_COMPLETIONS, ");
  }
}
#endif

#if !defined(RINGER_WITH_MPI)
TEST_CASE("one of several processes needs an MPI in the build", "[cli]") {
  for (const char* launcher : {"OMPI_COMM_WORLD_SIZE=4", "PMI_SIZE=2", "PMIX_RANK=0"}) {
    require_refused(run_ringer({"ep"}, {launcher}), 3, "but this build has no MPI");
  }
  CHECK(small({}, {"OMPI_COMM_WORLD_SIZE=1", "PMIX_RANK=0"}).exit_code == 0);
}
#endif

TEST_CASE("help and version go to stdout", "[cli]") {
  const CommandResult version = run_ringer({"--version"});
  CHECK(version.exit_code == 0);
  CHECK(version.out == "ringer 0.1.0\n");
  const CommandResult help = run_ringer({"ep", "--help"});
  CHECK(help.exit_code == 0);
  CHECK(help.err.empty());
  for (const char* part : {"RINGER_EP_RANKS_PER_NODE", "--no-check", "every:K", "[7168]"}) {
    CHECK(contains(help.out, part));
  }
  CHECK_FALSE(contains(help.out, "{false}"));
  CHECK(run_ringer({"--help"}).exit_code == 0);
}

TEST_CASE("JSON says what the table says", "[cli][json]") {
  const CommandResult result = small({"--json", "-", "--phases", "split"});
  CHECK(result.exit_code == 0);
  const auto root = nlohmann::json::parse(result.out);
  CHECK(root["schema"] == 1);
  CHECK(root["ok"] == true);
  CHECK(root["shape"]["ranks"] == 2);
  CHECK(root["environment"]["backend"] == "sim");
  CHECK(root["paths"][0][0] == "self");
  CHECK(root["paths"][0][1] == "ibgda");
  CHECK(root["digest"] == digest_of(small()));
  CHECK(root["error"].is_null());
  CHECK(root["nic"]["wqes"] > 0);
  REQUIRE(root["rows"].size() == 6);
  CHECK(root["rows"][0]["op"] == "dispatch");
  CHECK(root["rows"][0]["wrong"] == 0);
  CHECK(root["rows"][0]["bytes_per_rank"] == 8 * 2 * 128 * 2);
  CHECK(root["rows"][1]["wrong"].is_null());
  CHECK(nlohmann::json::parse(small({"--json", "-", "--no-check"}).out)["digest"].is_null());
}

TEST_CASE("a JSON file appears whole, or the run is refused at once", "[cli][json]") {
  const TemporaryDirectory directory;
  const std::string file = (directory.path() / "result.json").string();
  const CommandResult result = small({"--json", file});
  CHECK(result.exit_code == 0);
  CHECK(last_line(result.out) == "RESULT OK");
  CHECK(directory.files() == 1);
  std::ifstream in(file);
  CHECK(nlohmann::json::parse(in)["ok"] == true);

  require_refused(small({"--json", (directory.path() / "no" / "x").string()}), 2, "--json: cannot");
  require_refused(small({"--json", directory.path().string()}), 2, "it is a directory");
  require_refused(small({"--json", file + "/x"}), 2, "--json: cannot write");
  CHECK(directory.files() == 1);
}

TEST_CASE("a JSON file can be a device", "[cli][json]") {
  const CommandResult result = small({"--json", "/dev/stderr"});
  CHECK(result.exit_code == 0);
  CHECK(nlohmann::json::parse(result.err)["ok"] == true);
  CHECK(small({"--json", "/dev/full"}).exit_code == 3);
}

TEST_CASE("a routing file brings its own shape", "[cli][routing]") {
  const TemporaryDirectory directory;
  const std::string file = directory.write("r.csv",
                                           "token,e1,e2,w1,w2\n0,0,3,0.5,0.5\n1,1,-1,1,0\n"
                                           "2,2,2,0.25,0.75\n");
  const Strings base{"ep", "--ranks",         "2",         "--hidden", "128", "--experts-per-rank",
                     "2",  "--deterministic", "--routing", file};
  const CommandResult result = run_ringer(base);
  INFO(result.out << result.err);
  CHECK(result.exit_code == 0);
  CHECK(contains(result.out, "# shape        2 tokens a rank, hidden 128, topk 2, 4 experts"));

  Strings tight = base;
  tight.insert(tight.end(), {"--tokens", "1"});
  require_refused(run_ringer(tight), 2, "holds 3 tokens, but 2 ranks with --tokens 1 take only 2");
  Strings wide = base;
  wide.insert(wide.end(), {"--topk", "3"});
  require_refused(run_ringer(wide), 2, "line 2: 2 experts where 3 are expected");
  require_refused(small({"--routing", directory.write("bad", "0,9,1\n")}), 2, "line 1: ");
  require_refused(small({"--routing", directory.path().string()}), 2, "is a directory");
  require_refused(small({"--routing", "unifrom"}), 2, "cannot read 'unifrom'");
}

TEST_CASE("generated routings pass the check", "[cli][routing]") {
  for (const char* how : {"zipf:1.2", "one-hot", "one-hot:3"}) {
    const CommandResult result = small({"--routing", how});
    INFO(result.out << result.err);
    CHECK(result.exit_code == 0);
  }
}

TEST_CASE("a wait that cannot end is a failed run, not a hang", "[cli]") {
  const TemporaryDirectory directory;
  const std::string file = (directory.path() / "result.json").string();
  Strings slow{"ep",      "--ranks", "2",        "--timeout-ms", "1",      "--tokens", "4096",
               "--iters", "1",       "--hidden", "1024",         "--json", file};
  const CommandResult result = run_ringer(slow);
  INFO(result.out << result.err);
  CHECK(result.exit_code == 1);
  CHECK(last_line(result.out) == "RESULT FAILED");
  CHECK(lines(result.err) == 2);
  std::ifstream in(file);
  const auto root = nlohmann::json::parse(in);
  CHECK(root["ok"] == false);
  CHECK(root["rows"].empty());
  CHECK(root["nic"]["wqes"] > 0);  // what the NIC did matters most when something failed
  slow.back() = "/dev/full";
  CHECK(run_ringer(slow).exit_code == 1);  // not what became of the report
  CHECK(root["error"].is_string());
}

}  // namespace ringer::test
