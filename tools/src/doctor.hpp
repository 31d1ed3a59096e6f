// SPDX-License-Identifier: Apache-2.0
// What the facts of a node mean for GPU-initiated RDMA: findings, from the hardware up, and what
// they leave to run. Pure: the same facts, the same words.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "doctor_facts.hpp"

namespace ringer::tools {

/// Tiers above the laptop's simulation, which nothing blocks: bits of a set.
inline constexpr unsigned kSoftRoce = 1;
inline constexpr unsigned kGpuSoftNic = 2;
inline constexpr unsigned kConnectxCpu = 4;  ///< kernels write WQEs, the CPU rings doorbells
inline constexpr unsigned kConnectxGpu = 8;
inline constexpr unsigned kConnectx = kConnectxCpu | kConnectxGpu;
inline constexpr unsigned kVerbs = kSoftRoce | kConnectx;
inline constexpr unsigned kGpu = kGpuSoftNic | kConnectx;

enum class Level {
  ok,
  note,     ///< runs, but costs performance, or is good to know
  problem,  ///< is there and wrong
  missing,  ///< is not there
};
const char* name_of(Level level);

struct Finding {
  std::string id;       ///< "gpu.driver": stable
  std::string subject;  ///< which device, if there can be several: "mlx5_0/1"
  Level level = Level::ok;
  std::string fact;
  std::string advice;   ///< empty if there is nothing to do
  unsigned blocks = 0;  ///< tiers that do not run for this alone
};

struct TierVerdict {
  unsigned tier = 0;  ///< 0: the simulation, which nothing blocks
  std::string key;    ///< "connectx_gpu": stable
  std::string name;
  bool node_ready = false;  ///< only the build can be in the way
  bool runs = false;
  std::string reason;  ///< the first finding in the way
  std::string advice;
};

struct Diagnosis {
  std::vector<Finding> findings;
  std::vector<TierVerdict> tiers;
};
Diagnosis diagnose(const NodeFacts& facts, const BuildParts& build);

/// Keys of the tiers in a set.
std::vector<std::string> tier_keys(unsigned tiers);

/// The largest RoCE MTU that fits into a network device's.
uint32_t roce_mtu(uint32_t netdev_mtu);

/// How far a GID reaches: the order in which they are preferred.
enum class GidReach { ipv4, ipv6, link_local };
GidReach reach_of(const Gid& gid);
/// The RoCE v2 GID to use: the one that reaches farthest, of these the first. Null if none.
const Gid* choose_gid(const std::vector<Gid>& gids);

/// How close two devices are on PCI Express.
enum class Distance { same_switch, same_host_bridge, same_numa_node, across };
const char* to_string(Distance distance);
Distance distance_between(const PciDevice& a, const PciDevice& b);

/// For each GPU the index of its NIC: near ones first, and no NIC twice while another of the same
/// distance is free, nor more often than others need be. `nics` must not be empty.
std::vector<size_t> pair_gpus(const std::vector<PciDevice>& gpus,
                              const std::vector<PciDevice>& nics);

/// mlx5 devices with a port that is up and can be addressed, and a uverbs node that opens.
std::vector<const Hca*> usable_hcas(const NodeFacts& facts, const std::string& driver);

/// The parts of a diagnosis, in its order.
void judge_devices(const NodeFacts& facts, std::vector<Finding>& findings);
void judge_pci(const NodeFacts& facts, std::vector<Finding>& findings);
void judge_nvidia(const NodeFacts& facts, std::vector<Finding>& findings);
void judge_hcas(const NodeFacts& facts, std::vector<Finding>& findings);
void judge_process(const NodeFacts& facts, std::vector<Finding>& findings);
void judge_build(const BuildParts& build, std::vector<Finding>& findings);

}  // namespace ringer::tools
