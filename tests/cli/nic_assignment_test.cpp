// SPDX-License-Identifier: Apache-2.0
// Which NIC each rank takes, on nodes as clusters have them.
#include "nic_assignment.hpp"

#include <map>
#include <set>

#include "fake_node.hpp"
#include "support/catch.hpp"

using namespace ringer::tools;
using namespace ringer::test;

namespace {

const std::string kNear = "0000:18:00.0";  // H100Node: with mlx5_1
const std::string kFar = "0000:8d:00.0";   // with mlx5_0

NodeFacts facts_of(const FakeNode& node) { return probe_node(recorded_root(node.root())); }

/// Eight GPUs and four NICs, two and one below each of four switches, two switches a socket.
class WideNode : public FakeNode {
 public:
  WideNode() {
    for (uint32_t s = 0; s < 4; ++s) {
      const std::string bus = "1" + std::to_string(s);
      const std::string at = "pci0000:" + bus + "/0000:" + bus + ":01.0/";
      const int socket = s < 2 ? 0 : 1;
      for (const char* slot : {"00", "01"}) {
        add_gpu(at + "0000:" + bus + ":" + slot + ".1", socket);
      }
      add_mlx5("mlx5_" + std::to_string(s), at + "0000:" + bus + ":02.1", socket);
    }
  }
};

std::vector<RankPlace> on(const std::vector<std::string>& gpus) {
  std::vector<RankPlace> places;
  for (const std::string& gpu : gpus) places.push_back(rank_place(gpu));
  return places;
}

}  // namespace

TEST_CASE("NICs: each rank takes the one at its GPU's switch", "[cli]") {
  const H100Node node;
  const NodeFacts facts = facts_of(node);
  const std::vector<std::string> nics = {"mlx5_0", "mlx5_1"};
  const auto places = on({kNear, kFar});
  const NicPick first = assign_nic(places, 0, facts, nics);
  CHECK(first.nic == 1);
  CHECK(first.why == "same PCIe switch as GPU " + kNear);
  CHECK(assign_nic(places, 1, facts, nics).nic == 0);
}

TEST_CASE("NICs: ranks on one GPU share its NIC", "[cli]") {
  const H100Node node;
  const auto places = on({kFar, kFar, kNear, kFar});
  const NodeFacts facts = facts_of(node);
  for (uint32_t rank = 0; rank < places.size(); ++rank) {
    CHECK(assign_nic(places, rank, facts, {"mlx5_0", "mlx5_1"}).nic == (rank == 2 ? 1 : 0));
  }
  // And count as one GPU where two GPUs are spread over two NICs.
  const WideNode wide;
  const NodeFacts wide_facts = facts_of(wide);
  const std::string one = wide_facts.gpus[0].address();
  const std::string other = wide_facts.gpus[1].address();
  const auto nic_of = [&](uint32_t rank) {
    return assign_nic(on({one, one, other}), rank, wide_facts, {"mlx5_2", "mlx5_3"}).nic;
  };
  CHECK(nic_of(0) == nic_of(1));
  CHECK(nic_of(0) != nic_of(2));
}

TEST_CASE("NICs: all GPUs of a node together, in whatever processes their ranks are", "[cli]") {
  const WideNode node;
  const NodeFacts facts = facts_of(node);
  REQUIRE(facts.gpus.size() == 8);
  std::vector<std::string> gpus;
  for (const PciDevice& gpu : facts.gpus) gpus.push_back(gpu.address());
  const std::vector<std::string> nics = {"mlx5_0", "mlx5_1", "mlx5_2", "mlx5_3"};
  std::map<size_t, uint32_t> load;
  for (uint32_t rank = 0; rank < 8; ++rank) {
    const NicPick pick = assign_nic(on(gpus), rank, facts, nics);
    ++load[pick.nic];
    CHECK(pick.nic == rank / 2);
  }
  CHECK(load.size() == 4);
  // With one NIC gone its GPUs go where there is room, one each, though on the other socket.
  std::set<size_t> taken;
  for (uint32_t rank = 0; rank < 4; ++rank) {
    const NicPick pick = assign_nic(on({gpus.begin(), gpus.begin() + 4}), rank, facts,
                                    {"mlx5_1", "mlx5_2", "mlx5_3"});
    taken.insert(pick.nic);
    if (rank >= 2) CHECK(pick.nic == 0);
  }
  CHECK(taken.size() == 3);
}

TEST_CASE("NICs: ranks without a GPU, and those of other hosts", "[cli]") {
  const H100Node node;
  const NodeFacts facts = facts_of(node);
  const std::vector<std::string> nics = {"mlx5_0", "mlx5_1"};
  auto places = on({"", "", "", kNear});
  CHECK(assign_nic(places, 0, facts, nics).nic == 0);
  CHECK(assign_nic(places, 1, facts, nics).nic == 1);
  CHECK(assign_nic(places, 2, facts, nics).nic == 0);
  CHECK(assign_nic(places, 2, facts, nics).why.empty());
  CHECK(assign_nic(places, 3, facts, nics).nic == 1);
  // Another host's ranks take none of this one's turns, and crowd none of its NICs.
  places[0].host ^= 1;
  CHECK(assign_nic(places, 1, facts, nics).nic == 0);
  auto elsewhere = on({kNear, kNear});
  elsewhere[0].host ^= 1;
  CHECK(assign_nic(elsewhere, 1, facts, nics).nic == 1);
}

TEST_CASE("NICs: a GPU or a NIC that the tree does not know has no distance", "[cli]") {
  const H100Node node;
  const NodeFacts facts = facts_of(node);
  CHECK(assign_nic(on({"0000:99:00.0"}), 0, facts, {"mlx5_0"}).why.empty());
  const NicPick pick = assign_nic(on({kNear, kFar}), 0, facts, {"mlx5_7"});
  CHECK(pick.nic == 0);
  CHECK(pick.why.empty());
}
