// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>

#include "cli_support.hpp"
#include "fake_machine.hpp"
#include "support/catch.hpp"

namespace ringer::test {

namespace {

std::string root_variable(const FakeMachine& machine) {
  return "RINGER_INFO_ROOT=" + machine.root().string();
}

}  // namespace

TEST_CASE("info names every backend and tier", "[cli][info]") {
  const CommandResult result = run_ringer({"info"});
  CHECK(result.exit_code == 0);
  CHECK(result.err.empty());
  CHECK(contains(result.out, "\n  sim          yes"));
  CHECK(contains(result.out, "\n  mlx5         no"));
  CHECK(contains(result.out, "\n  verbs        no"));
  CHECK(contains(result.out, "\n  T0 laptop    yes"));
  CHECK(contains(result.out, "\n  T3 ConnectX  no"));
  CHECK(contains(result.out, "\n  one process  yes"));
  CHECK(contains(result.out, "\n  mpirun       "));
}

TEST_CASE("info reports what a recorded machine has", "[cli][info]") {
  FakeMachine machine;
  machine.add_hardware_nic("mlx5_0", "mlx5_core");
  machine.add_software_nic("rxe0");
  machine.add_file("dev/infiniband/uverbs0");
  const CommandResult text = run_ringer({"info"}, {root_variable(machine)});
  CHECK(text.exit_code == 0);
  CHECK(contains(text.out, "mlx5_0 (mlx5_core), rxe0 (rdma_rxe)"));
  const CommandResult json = run_ringer({"info", "--json"}, {root_variable(machine)});
  CHECK(json.exit_code == 0);
  const auto root = nlohmann::json::parse(json.out);
  CHECK(root["schema"] == 1);
  CHECK(root["machine"]["rdma_devices"][0]["driver"] == "mlx5_core");
  CHECK(root["machine"]["uverbs_nodes"] == 1);
  CHECK(root["machine"]["libibverbs"] == false);
  CHECK(root["backends"].size() == 3);
  CHECK(root["backends"][1]["runs"] == false);
  CHECK(root["tiers"].size() == 4);
  CHECK(root["tiers"][0]["runs"] == true);
  CHECK(root["groups"].size() == 2);
  CHECK(root["groups"][0]["runs"] == true);
}

TEST_CASE("info refuses what it cannot use", "[cli][info]") {
  const CommandResult root = run_ringer({"info"}, {"RINGER_INFO_ROOT=/no/such/place"});
  CHECK(root.exit_code == 2);
  CHECK(lines(root.err) == 2);
  CHECK(contains(root.err, "RINGER_INFO_ROOT"));
  const CommandResult option = run_ringer({"info", "--frobnicate"});
  CHECK(option.exit_code == 2);
  CHECK(lines(option.err) == 2);
  CHECK(contains(option.err, "try 'ringer info --help'"));
}

}  // namespace ringer::test
