// SPDX-License-Identifier: Apache-2.0
// Which port and GID a rank takes, by what the environment says and what the ports are.
#include <cstring>
#include <map>

#include <ringer/control_plane.hpp>
#include <ringer/mlx5/mlx5_settings.hpp>

#include "support/catch.hpp"

using namespace ringer;
using namespace ringer::mlx5;
using namespace ringer::verbs;

namespace {

Mlx5Settings read(const std::map<std::string, std::string>& variables) {
  return read_mlx5_settings([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

GidFacts gid(std::initializer_list<uint8_t> first, bool v2) {
  GidFacts facts;
  std::copy(first.begin(), first.end(), facts.raw);
  facts.roce_v2 = v2;
  return facts;
}

const GidFacts kLinkLocalV1 = gid({0xfe, 0x80, 0, 0, 0, 0, 0, 0, 1}, false);
const GidFacts kLinkLocal = gid({0xfe, 0x80, 0, 0, 0, 0, 0, 0, 1}, true);
const GidFacts kIpv4 = gid({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1}, true);
const GidFacts kIpv6 = gid({0x20, 1, 0xd, 0xb8, 1}, true);

std::vector<PortFacts> two_ports() {
  return {{"mlx5_0", 1, true, false, 7, {kLinkLocalV1}},
          {"mlx5_1", 1, true, false, 8, {kLinkLocalV1}}};
}

}  // namespace

TEST_CASE("fabric settings: Ringer's variables before NCCL's before defaults", "[settings]") {
  CHECK(read({}).timeout.value == 18);
  CHECK(read({}).timeout.origin == "default");
  const Mlx5Settings nccl = read({{"NCCL_IB_TIMEOUT", "22"}, {"NCCL_IB_HCA", "=mlx5_1:1"}});
  CHECK(nccl.timeout.value == 22);
  CHECK(nccl.timeout.origin == "NCCL_IB_TIMEOUT");
  const Mlx5Settings both = read({{"NCCL_IB_TIMEOUT", "22"}, {"RINGER_IB_TIMEOUT", "5"}});
  CHECK(both.timeout.value == 5);
  CHECK(both.timeout.origin == "RINGER_IB_TIMEOUT");
  CHECK(read({{"RINGER_IB_QUEUES", "devx"}}).queues.value == QueueMaking::devx);
  CHECK(read({{"RINGER_IB_DOORBELLS", "cpu"}}).doorbells.value == DoorbellWay::cpu);
  CHECK(read({{"RINGER_IB_REGISTRATION", "dmabuf"}}).registration.value == Registration::dmabuf);
  CHECK(read({{"RINGER_IB_QUEUE_MEMORY", "gpu"}}).queue_memory.value == QueueMemory::near);
  const Mlx5Settings ordered = read({{"NCCL_IB_PCI_RELAXED_ORDERING", "0"}});
  CHECK(ordered.relaxed_ordering.value == RelaxedOrdering::off);
  CHECK(describe(both).find("timeout 5 (RINGER_IB_TIMEOUT)") != std::string::npos);
  CHECK(describe(ordered).find("relaxed ordering 0 (NCCL_IB_PCI_RELAXED_ORDERING)") !=
        std::string::npos);
}

TEST_CASE("fabric settings: a value out of its range is refused by its variable", "[settings]") {
  const std::pair<const char*, const char*> wrong[] = {{"RINGER_IB_TIMEOUT", "32"},
                                                       {"NCCL_IB_SL", "16"},
                                                       {"NCCL_IB_TC", "x"},
                                                       {"NCCL_IB_RETRY_CNT", ""},
                                                       {"NCCL_IB_PKEY", "-1"},
                                                       {"RINGER_IB_QUEUES", "gpu"},
                                                       {"NCCL_IB_GID_INDEX", "-2"},
                                                       {"NCCL_IB_TC", "1 2"},
                                                       {"RINGER_IB_REGISTRATION", "peermem"},
                                                       {"NCCL_IB_PCI_RELAXED_ORDERING", "3"},
                                                       {"RINGER_IB_HCA", "mlx5_0:abc"},
                                                       {"NCCL_IB_HCA", "mlx5_1,mlx5_0:"},
                                                       {"NCCL_IB_HCA", "^mlx5_0:0"}};
  for (const auto& [name, value] : wrong) {
    CAPTURE(name, value);
    std::string text;
    try {
      read({{name, value}});
    } catch (const BackendError& e) {
      text = e.what();
    }
    CHECK(text.find(name) != std::string::npos);
  }
}

TEST_CASE("ports are taken in turn by the ranks of a node, among those allowed", "[settings]") {
  const auto taken = [](const std::string& hca, uint32_t rank) {
    return choose_port(two_ports(), read({{"NCCL_IB_HCA", hca}}), rank).device;
  };
  CHECK(taken("mlx5", 0) == "mlx5_0");
  CHECK(taken("mlx5", 1) == "mlx5_1");
  CHECK(taken("mlx5", 2) == "mlx5_0");
  CHECK(taken("mlx5_1", 0) == "mlx5_1");
  CHECK(taken("^mlx5_0", 3) == "mlx5_1");
  CHECK(taken("=mlx5_1:1", 0) == "mlx5_1");
  CHECK(taken("mlx5_1:1,mlx5_0:1", 1) == "mlx5_1");
  CHECK_THROWS_AS(taken("=mlx5", 0), BackendError);
  CHECK_THROWS_AS(taken("mlx5_0:2", 0), BackendError);
  auto down = two_ports();
  down[0].active = false;
  CHECK(choose_port(down, {}, 0).device == "mlx5_1");
  CHECK_THROWS_AS(choose_port({}, {}, 0), BackendError);
}

TEST_CASE("RoCE v2 over IPv4 is the best GID, a link-local one the last resort", "[settings]") {
  const auto chosen = [](std::vector<GidFacts> gids, const FabricSettings& s = {}) {
    return choose_port({{"mlx5_0", 1, true, true, 0, std::move(gids)}}, s, 0).gid_index;
  };
  CHECK(chosen({kLinkLocalV1, kLinkLocal, kIpv6, kIpv4}) == 3);
  CHECK(chosen({kLinkLocalV1, kLinkLocal, kIpv6}) == 2);
  CHECK(chosen({kLinkLocalV1, kLinkLocal}) == 1);
  CHECK(chosen({kIpv4, kIpv4}) == 0);
  CHECK(chosen({kLinkLocalV1, kIpv4}, read({{"NCCL_IB_GID_INDEX", "0"}})) == 0);
  CHECK_THROWS_AS(chosen({kIpv4}, read({{"NCCL_IB_GID_INDEX", "3"}})), BackendError);
  CHECK_THROWS_AS(chosen({GidFacts{}}), BackendError);
  CHECK(choose_port({{"mlx5_0", 1, true, true, 0, {kIpv4}}}, {}, 0).reason ==
        "mlx5_0:1 (active), gid 0 (RoCE v2, IPv4)");
}
