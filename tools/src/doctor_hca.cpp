// SPDX-License-Identifier: Apache-2.0
// HCAs and their ports: what is up, can be addressed and can be opened.
#include <algorithm>

#include <fmt/format.h>

#include "doctor.hpp"

namespace ringer::tools {

namespace {

using Findings = std::vector<Finding>;

constexpr uint32_t kMtus[] = {4096, 2048, 1024, 512, 256};

// GRH or IP, UDP, BTH, XRC, atomic ETH and ICRC: what the kernel leaves room for.
constexpr uint32_t kRoceOverhead = 40 + 8 + 12 + 4 + 28 + 4;

unsigned tiers_of(const Hca& hca) {
  if (hca.driver == "mlx5_core") return kConnectx;
  return hca.driver == "rdma_rxe" ? kSoftRoce : 0;
}

bool is_up(const RdmaPort& port) { return port.state == "ACTIVE"; }

bool is_ethernet(const RdmaPort& port) { return port.link_layer == "Ethernet"; }

bool can_address(const RdmaPort& port) {
  return !is_ethernet(port) || choose_gid(port.gids) != nullptr;
}

void judge_state(const std::string& subject, const RdmaPort& port, unsigned blocks,
                 Findings& findings) {
  if (is_up(port)) {
    findings.push_back({"port.state", subject, Level::ok,
                        fmt::format("ACTIVE, {}, {}", port.link_layer, port.rate), "", 0});
    return;
  }
  const char* advice = "see the subnet manager: the link is up, the port is not configured";
  if (port.physical_state != "LinkUp") advice = "check cable, module and switch port";
  if (port.physical_state == "Disabled")
    advice = "as root: ip link set the network device up, then check cable and switch port";
  findings.push_back({"port.state", subject, Level::problem,
                      fmt::format("{}, physical state {}", port.state, port.physical_state), advice,
                      blocks});
}

void judge_mtu(const std::string& subject, const RdmaPort& port, Findings& findings) {
  if (!is_ethernet(port) || !port.netdev_mtu) return;
  const uint32_t mtu = roce_mtu(*port.netdev_mtu);
  const bool full = mtu == kMtus[0];
  findings.push_back(
      {"port.mtu", subject, full ? Level::ok : Level::note,
       fmt::format("{} has MTU {}: RoCE MTU {}", port.netdev, *port.netdev_mtu, mtu),
       full ? ""
            : fmt::format("as root: ip link set {} mtu 9000, on all nodes and switches; {} do "
                          "for a RoCE MTU of {}",
                          port.netdev, kMtus[0] + kRoceOverhead, kMtus[0]),
       0});
}

void judge_gid(const std::string& subject, const RdmaPort& port, unsigned blocks,
               Findings& findings) {
  if (!is_ethernet(port)) return;
  const Gid* gid = choose_gid(port.gids);
  const std::string device = port.netdev.empty() ? "<device>" : port.netdev;
  const std::string advice = fmt::format("as root: ip address add <address>/<bits> dev {}", device);
  if (gid == nullptr) {
    findings.push_back({"port.gid", subject, Level::problem, "no RoCE v2 GID", advice, blocks});
  } else if (reach_of(*gid) == GidReach::link_local) {
    findings.push_back(
        {"port.gid", subject, Level::problem,
         fmt::format("GID index {} ({}) is the best and only link-local: it does not "
                     "reach other subnets",
                     gid->index, gid->text),
         advice, 0});
  } else {
    const char* kind = reach_of(*gid) == GidReach::ipv4 ? "IPv4" : "IPv6";
    findings.push_back({"port.gid", subject, Level::ok,
                        fmt::format("GID index {} ({}): RoCE v2, {}", gid->index, gid->text, kind),
                        "", 0});
  }
}

// The top bit is full membership; two limited members do not reach each other.
void judge_pkey(const std::string& subject, const RdmaPort& port, Findings& findings) {
  if (is_ethernet(port) || port.pkey.empty() || port.pkey == "0xffff") return;
  findings.push_back({"port.pkey", subject, Level::note,
                      "partition key at index 0 is " + port.pkey + ", not 0xffff",
                      "all nodes must share the partition; 0x7fff and below are limited members",
                      0});
}

void judge_uverbs(const Hca& hca, unsigned blocks, Findings& findings) {
  if (hca.uverbs.empty()) {
    findings.push_back({"hca.uverbs", hca.name, Level::missing, "no uverbs node",
                        "as root: modprobe ib_uverbs", blocks});
  } else if (!hca.uverbs_trouble.empty()) {
    findings.push_back(
        {"hca.uverbs", hca.name, Level::problem,
         fmt::format("/dev/infiniband/{} cannot be opened: {}", hca.uverbs, hca.uverbs_trouble),
         "it should be open to all (rdma-core's udev rules); a container wants "
         "--device /dev/infiniband",
         blocks});
  } else {
    findings.push_back(
        {"hca.uverbs", hca.name, Level::ok, "/dev/infiniband/" + hca.uverbs + " opens", "", 0});
  }
}

bool is_usable(const Hca& hca) {
  return !hca.uverbs.empty() && hca.uverbs_trouble.empty() &&
         std::any_of(hca.ports.begin(), hca.ports.end(),
                     [](const RdmaPort& port) { return is_up(port) && can_address(port); });
}

void judge_hca(const NodeFacts& facts, const Hca& hca, Findings& findings) {
  // What one device lacks blocks nothing as long as another will do.
  const unsigned blocks = usable_hcas(facts, hca.driver).empty() ? tiers_of(hca) : 0;
  findings.push_back({"hca.firmware", hca.name, Level::ok,
                      fmt::format("{}{}{}", hca.driver, hca.type.empty() ? "" : ", " + hca.type,
                                  hca.firmware.empty() ? "" : ", firmware " + hca.firmware),
                      "", 0});
  judge_uverbs(hca, blocks, findings);
  for (const RdmaPort& port : hca.ports) {
    const std::string subject = fmt::format("{}/{}", hca.name, port.number);
    judge_state(subject, port, blocks, findings);
    judge_mtu(subject, port, findings);
    if (is_up(port)) judge_gid(subject, port, blocks, findings);
    judge_pkey(subject, port, findings);
  }
  if (hca.ports.empty()) {
    findings.push_back({"port.state", hca.name, Level::missing, "no port in sysfs",
                        "reload the device's driver", blocks});
  }
}

void judge_libraries(const NodeFacts& facts, Findings& findings) {
  const MachineFacts& machine = facts.machine;
  findings.push_back({"library.ibverbs", "", machine.libibverbs ? Level::ok : Level::missing,
                      machine.libibverbs ? "libibverbs.so.1 loads" : "no libibverbs.so.1",
                      machine.libibverbs ? "" : "install libibverbs1 (rdma-core)",
                      machine.libibverbs ? 0 : kVerbs});
  const bool mlx5 = machine.libmlx5 || facts.mlx5_provider;
  findings.push_back({"library.mlx5", "", mlx5 ? Level::ok : Level::missing,
                      machine.libmlx5 ? "libmlx5.so.1 loads"
                      : mlx5          ? "the mlx5 provider of libibverbs is there"
                                      : "no libmlx5.so.1",
                      mlx5 ? "" : "install ibverbs-providers (rdma-core)", mlx5 ? 0 : kConnectx});
}

}  // namespace

uint32_t roce_mtu(uint32_t netdev_mtu) {
  for (const uint32_t mtu : kMtus) {
    if (netdev_mtu >= mtu + kRoceOverhead) return mtu;
  }
  return 0;
}

GidReach reach_of(const Gid& gid) {
  const auto& b = gid.bytes;
  const bool mapped = std::all_of(b.begin(), b.begin() + 10, [](uint8_t x) { return x == 0; }) &&
                      b[10] == 0xff && b[11] == 0xff;
  if (mapped) return b[12] == 169 && b[13] == 254 ? GidReach::link_local : GidReach::ipv4;
  return b[0] == 0xfe && (b[1] & 0xc0) == 0x80 ? GidReach::link_local : GidReach::ipv6;
}

const Gid* choose_gid(const std::vector<Gid>& gids) {
  const Gid* best = nullptr;
  for (const Gid& gid : gids) {
    if (gid.type != "RoCE v2") continue;
    if (best == nullptr || reach_of(gid) < reach_of(*best)) best = &gid;
  }
  return best;
}

std::vector<const Hca*> usable_hcas(const NodeFacts& facts, const std::string& driver) {
  std::vector<const Hca*> usable;
  for (const Hca& hca : facts.hcas) {
    if (hca.driver == driver && is_usable(hca)) usable.push_back(&hca);
  }
  return usable;
}

void judge_hcas(const NodeFacts& facts, Findings& findings) {
  for (const Hca& hca : facts.hcas) judge_hca(facts, hca, findings);
  judge_libraries(facts, findings);
}

}  // namespace ringer::tools
