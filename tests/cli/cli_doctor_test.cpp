// SPDX-License-Identifier: Apache-2.0
#include <fstream>

#include <nlohmann/json.hpp>

#include "cli_support.hpp"
#include "fake_node.hpp"
#include "support/catch.hpp"

namespace ringer::test {

namespace {

CommandResult doctor(const FakeMachine& machine, const std::vector<std::string>& arguments = {}) {
  std::vector<std::string> all{"doctor"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return run_ringer(all, {"RINGER_INFO_ROOT=" + machine.root().string()});
}

}  // namespace

TEST_CASE("doctor prints findings, advice and what runs", "[cli][doctor]") {
  H100Node node;
  node.add_file("proc/driver/nvidia/params", "RegistryDwords: \"\"\n");
  const CommandResult result = doctor(node);
  CHECK(result.exit_code == 0);
  CHECK(result.err.empty());
  CHECK(contains(result.out, "\n  ok       port.state          mlx5_0/1: ACTIVE, Ethernet, "));
  CHECK(contains(result.out, "\n  problem  gpu.peer_mapping    NVreg_RegistryDwords lacks"));
  CHECK(contains(result.out, "                    -> as root: echo 'options nvidia "));
  CHECK(contains(result.out, "\n  laptop simulation        yes  needs no NIC"));
  CHECK(contains(result.out, "\n  ConnectX, GPU-initiated  no   NVreg_RegistryDwords lacks"));
  CHECK(contains(last_line(result.out), "1 problem, "));
}

TEST_CASE("doctor writes JSON", "[cli][doctor]") {
  H100Node node;
  node.set_memlock("65536");
  const std::string file = (node.root() / "doctor.json").string();
  const CommandResult text = doctor(node, {"--json", file});
  CHECK(text.exit_code == 0);
  CHECK(contains(text.out, "What runs here"));
  const CommandResult stdout_only = doctor(node, {"--json", "-"});
  std::ifstream in(file);
  const auto root = nlohmann::json::parse(in);
  CHECK(nlohmann::json::parse(stdout_only.out) == root);
  CHECK(root["schema"] == 1);
  CHECK(root["counts"]["problem"] == 1);
  size_t problems = 0;
  for (const auto& finding : root["findings"]) {
    if (finding["level"] != "problem") continue;
    ++problems;
    CHECK(finding["id"] == "limit.memlock");
    CHECK(finding["blocks"] == nlohmann::json{"softroce", "connectx_cpu", "connectx_gpu"});
  }
  CHECK(problems == 1);
  REQUIRE(root["tiers"].size() == 5);
  CHECK(root["tiers"][0]["tier"] == "laptop");
  CHECK(root["tiers"][0]["runs"] == true);
  CHECK(root["tiers"][4]["tier"] == "connectx_gpu");
  CHECK(root["tiers"][4]["node_ready"] == false);
}

TEST_CASE("doctor says what it cannot examine or write", "[cli][doctor]") {
  const FakeMachine empty;
  const CommandResult nothing = doctor(empty);
  CHECK(nothing.exit_code == 3);
  CHECK(nothing.out.empty());
  CHECK(lines(nothing.err) == 2);
  const CommandResult root = run_ringer({"doctor"}, {"RINGER_INFO_ROOT=/no/such/place"});
  CHECK(root.exit_code == 2);
  CHECK(contains(root.err, "RINGER_INFO_ROOT"));
  const CommandResult file = run_ringer({"doctor", "--json", "/no/such/place/d.json"});
  CHECK(file.exit_code == 2);
  CHECK(file.out.empty());
  CHECK(run_ringer({"doctor"}).exit_code == 0);
}

}  // namespace ringer::test
