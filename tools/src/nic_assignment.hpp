// SPDX-License-Identifier: Apache-2.0
// Which NIC each rank of a run takes: a near one, and not one that others crowd while as near a one
// is free. All ranks of a host are looked at together, whatever process they are in.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "doctor_facts.hpp"

namespace ringer::tools {

/// Where a rank's kernels run. Exchanged as plain bytes.
struct RankPlace {
  uint64_t host = 0;           ///< host_identity()
  std::array<char, 24> gpu{};  ///< "0000:18:00.0"; empty: not on a GPU
};

/// On this host, on the GPU with this PCI address or on none.
RankPlace rank_place(const std::string& gpu);

struct NicPick {
  size_t nic = 0;
  std::string why;  ///< "same PCIe switch as GPU 0000:18:00.0"
};

/// What rank number `rank` takes of `nics`, names of HCAs on its host, at least one. `places` is of
/// all ranks of the run. Ranks without a GPU, or with one that `facts` does not know, take turns.
NicPick assign_nic(const std::vector<RankPlace>& places, uint32_t rank, const NodeFacts& facts,
                   const std::vector<std::string>& nics);

}  // namespace ringer::tools
