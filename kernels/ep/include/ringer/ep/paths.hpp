// SPDX-License-Identifier: Apache-2.0
// Which path each pair of ranks takes, and why. A pure function of what all ranks have told all
// ranks, so that everybody arrives at the same table.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <ringer/channel.hpp>

namespace ringer::ep {

enum class PathRequest : uint32_t { automatic, ipc, ibgda, fifo };

/// What a rank tells the others about where it is and what it can do. Exchanged as plain bytes.
struct RankFacts {
  uint64_t node;           ///< equal for ranks that may share memory
  uint64_t address_space;  ///< equal for ranks whose pointers mean the same
  PathRequest request;
  uint32_t device_posting;    ///< its NIC can be rung by a kernel
  uint64_t sharing_domain;    ///< KernelMemory::sharing_domain() of its window
  uint32_t own_process_only;  ///< its NIC reaches ranks of the same process only
  uint32_t reserved;
};

struct PathChoice {
  Path path;
  const char* reason;
};

/// Path between ranks `a` and `b`, the same in both directions. A rank always reaches itself
/// directly. Throws std::invalid_argument, naming the ranks, if the requested path cannot serve the
/// pair.
PathChoice choose_path(std::span<const RankFacts> facts, uint32_t a, uint32_t b);

/// A test's or a sweep's own choice for each pair; must be symmetric and the same on all ranks.
using PathOverride = std::function<Path(uint32_t a, uint32_t b)>;

/// The whole matrix, row by row.
std::vector<PathChoice> choose_paths(std::span<const RankFacts> facts,
                                     const PathOverride& override_path);

const char* to_string(Path path);
const char* to_string(PathRequest request);

/// The matrix for people: a row per rank, a column per peer, then the reasons with their counts.
std::string format_paths(std::span<const PathChoice> matrix, uint32_t ranks);

}  // namespace ringer::ep
