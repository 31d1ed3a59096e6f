// SPDX-License-Identifier: Apache-2.0
#include "nic_assignment.hpp"

#include <algorithm>

#include <ringer/kernel_memory.hpp>

#include "doctor.hpp"

namespace ringer::tools {

namespace {

std::string address_of(const RankPlace& place) { return place.gpu.data(); }

const PciDevice* find_gpu(const NodeFacts& facts, const std::string& address) {
  const auto found = std::find_if(facts.gpus.begin(), facts.gpus.end(),
                                  [&](const PciDevice& gpu) { return gpu.address() == address; });
  return found == facts.gpus.end() ? nullptr : &*found;
}

std::vector<PciDevice> devices_of(const NodeFacts& facts, const std::vector<std::string>& nics) {
  std::vector<PciDevice> devices;
  for (const std::string& name : nics) {
    const auto found = std::find_if(facts.hcas.begin(), facts.hcas.end(),
                                    [&](const Hca& hca) { return hca.name == name; });
    devices.push_back(found == facts.hcas.end() ? PciDevice{} : found->pci);
  }
  return devices;
}

}  // namespace

RankPlace rank_place(const std::string& gpu) {
  RankPlace place;
  place.host = host_identity();
  std::copy_n(gpu.begin(), std::min(gpu.size(), place.gpu.size() - 1), place.gpu.begin());
  return place;
}

NicPick assign_nic(const std::vector<RankPlace>& places, uint32_t rank, const NodeFacts& facts,
                   const std::vector<std::string>& nics) {
  const RankPlace& mine = places[rank];
  // GPUs of the host that ranks use, each once, in the order of its ranks.
  std::vector<PciDevice> gpus;
  size_t turn = 0;  // of ranks without a GPU that is known
  for (uint32_t r = 0; r < places.size(); ++r) {
    if (places[r].host != mine.host) continue;
    const PciDevice* gpu = find_gpu(facts, address_of(places[r]));
    const bool counted =
        gpu != nullptr && std::any_of(gpus.begin(), gpus.end(),
                                      [&](const auto& g) { return g.address() == gpu->address(); });
    if (gpu != nullptr && !counted) gpus.push_back(*gpu);
    if (gpu == nullptr && r < rank) ++turn;
  }
  const PciDevice* gpu = find_gpu(facts, address_of(mine));
  if (gpu == nullptr) return {turn % nics.size(), {}};
  const std::vector<PciDevice> devices = devices_of(facts, nics);
  const std::vector<size_t> pairs = pair_gpus(gpus, devices);
  const auto own = std::find_if(gpus.begin(), gpus.end(),
                                [&](const auto& g) { return g.address() == gpu->address(); });
  const size_t nic = pairs[static_cast<size_t>(own - gpus.begin())];
  if (devices[nic].path.empty()) return {nic, {}};  // emulated: it is nowhere
  const Distance distance = distance_between(*gpu, devices[nic]);
  const bool near = distance != Distance::across;
  return {nic,
          to_string(distance) + std::string(near ? " as" : " than") + " GPU " + gpu->address()};
}

}  // namespace ringer::tools
