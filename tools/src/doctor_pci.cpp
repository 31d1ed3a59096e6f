// SPDX-License-Identifier: Apache-2.0
// How close GPUs and NICs are, and what stands between them.
#include <algorithm>

#include <fmt/format.h>

#include "doctor.hpp"

namespace ringer::tools {

namespace {

using Findings = std::vector<Finding>;

constexpr Distance kDistances[] = {Distance::same_switch, Distance::same_host_bridge,
                                   Distance::same_numa_node, Distance::across};
constexpr uint32_t kFullReadRequest = 4096;

// mlx5 HCAs on PCI Express; those that cannot be used only if no others are there.
std::vector<const Hca*> hcas_to_pair(const NodeFacts& facts) {
  std::vector<const Hca*> hcas = usable_hcas(facts, "mlx5_core");
  if (hcas.empty()) {
    for (const Hca& hca : facts.hcas) {
      if (hca.driver == "mlx5_core") hcas.push_back(&hca);
    }
  }
  std::erase_if(hcas, [](const Hca* hca) { return hca->pci.path.empty(); });
  return hcas;
}

std::string numa_text(const PciDevice& device) {
  return device.numa_node ? fmt::format("NUMA node {}", *device.numa_node) : "no NUMA node";
}

void judge_pairs(const NodeFacts& facts, Findings& findings) {
  const std::vector<const Hca*> hcas = hcas_to_pair(facts);
  if (hcas.empty()) return;
  std::vector<PciDevice> nics;
  nics.reserve(hcas.size());
  for (const Hca* hca : hcas) nics.push_back(hca->pci);
  const std::vector<size_t> pairs = pair_gpus(facts.gpus, nics);
  for (size_t i = 0; i < pairs.size(); ++i) {
    const PciDevice& gpu = facts.gpus[i];
    const PciDevice& nic = nics[pairs[i]];
    const Distance distance = distance_between(gpu, nic);
    const bool near = distance != Distance::across;
    findings.push_back(
        {"pci.pair", gpu.address(), near ? Level::ok : Level::note,
         fmt::format("{}, with {} ({}, {}): {}", numa_text(gpu), hcas[pairs[i]]->name,
                     nic.address(), numa_text(nic), to_string(distance)),
         near ? "" : "no NIC is closer: what this GPU sends crosses sockets", 0});
  }
}

void judge_acs(const NodeFacts& facts, Findings& findings) {
  std::string redirecting;
  std::string example;
  bool unknown = false;
  for (const auto& [address, acs] : facts.bridges) {
    unknown = unknown || acs == Acs::unknown;
    if (acs != Acs::redirects) continue;
    redirecting += (redirecting.empty() ? "" : ", ") + address;
    if (example.empty()) example = address;
  }
  if (!redirecting.empty()) {
    findings.push_back(
        {"pci.acs", "", Level::problem,
         "ACS redirects what GPUs and NICs send each other to the root complex: " + redirecting,
         fmt::format("switch ACS off in the firmware, or for each bridge as root: "
                     "setpci -s {} ECAP_ACS+6.w=0 (until reboot; virtual machines "
                     "need ACS)",
                     example),
         0});
  } else if (unknown) {
    findings.push_back({"pci.acs", "", Level::note,
                        "ACS is unknown: configuration space cannot be read",
                        "run 'ringer doctor' as root once", 0});
  } else if (!facts.bridges.empty()) {
    findings.push_back({"pci.acs", "", Level::ok, "no bridge redirects", "", 0});
  }
}

void judge_iommu(const NodeFacts& facts, Findings& findings) {
  const bool translates = facts.iommu && !facts.iommu_passthrough;
  findings.push_back({"pci.iommu", "", translates ? Level::note : Level::ok,
                      !facts.iommu ? "no IOMMU is in use"
                      : translates ? "the IOMMU translates what devices send each other"
                                   : "the IOMMU passes through",
                      translates ? "boot with iommu=pt, or switch it off in the firmware" : "", 0});
}

void judge_link(const Hca& hca, Findings& findings) {
  const PciDevice& device = hca.pci;
  if (!device.link.empty() && !device.link_max.empty()) {
    const bool full = device.link == device.link_max;
    findings.push_back({"pci.link", hca.name, full ? Level::ok : Level::note,
                        full ? device.link : device.link + " of " + device.link_max,
                        full ? "" : "reseat the card, or move it to a wider or faster slot", 0});
  }
  if (!device.control) return;
  const bool large = device.control->max_read_request_bytes >= kFullReadRequest;
  findings.push_back(
      {"pci.control", hca.name, large && device.control->relaxed_ordering ? Level::ok : Level::note,
       fmt::format("max read request {} bytes, relaxed ordering {}",
                   device.control->max_read_request_bytes,
                   device.control->relaxed_ordering ? "on" : "off"),
       large && device.control->relaxed_ordering
           ? ""
           : "for bandwidth: read requests of 4096 bytes and relaxed ordering (firmware setup, "
             "mlxconfig PCI_WR_ORDERING)",
       0});
}

}  // namespace

const char* to_string(Distance distance) {
  constexpr const char* kNames[] = {"same PCIe switch", "same host bridge", "same NUMA node",
                                    "another NUMA node"};
  return kNames[static_cast<size_t>(distance)];
}

Distance distance_between(const PciDevice& a, const PciDevice& b) {
  const auto& pa = a.path;
  const auto& pb = b.path;
  // A root port leads to one device or one switch: who shares a bridge shares a switch.
  if (pa.size() > 2 && pb.size() > 2 && pa[0] == pb[0] && pa[1] == pb[1])
    return Distance::same_switch;
  if (!pa.empty() && !pb.empty() && pa[0] == pb[0]) return Distance::same_host_bridge;
  return a.numa_node && a.numa_node == b.numa_node ? Distance::same_numa_node : Distance::across;
}

std::vector<size_t> pair_gpus(const std::vector<PciDevice>& gpus,
                              const std::vector<PciDevice>& nics) {
  const size_t most = (gpus.size() + nics.size() - 1) / nics.size();
  const size_t nobody = nics.size();
  std::vector<size_t> load(nics.size(), 0);
  std::vector<size_t> chosen(gpus.size(), nobody);
  for (const Distance distance : kDistances) {
    for (size_t gpu = 0; gpu < gpus.size(); ++gpu) {
      if (chosen[gpu] != nobody) continue;
      for (size_t nic = 0; nic < nics.size(); ++nic) {
        if (load[nic] == most || distance_between(gpus[gpu], nics[nic]) != distance) continue;
        if (chosen[gpu] == nobody || load[nic] < load[chosen[gpu]]) chosen[gpu] = nic;
      }
      if (chosen[gpu] != nobody) ++load[chosen[gpu]];
    }
  }
  return chosen;
}

void judge_pci(const NodeFacts& facts, Findings& findings) {
  if (facts.gpus.empty() && facts.hcas.empty()) return;
  judge_pairs(facts, findings);
  judge_acs(facts, findings);
  judge_iommu(facts, findings);
  for (const Hca& hca : facts.hcas) judge_link(hca, findings);
}

}  // namespace ringer::tools
