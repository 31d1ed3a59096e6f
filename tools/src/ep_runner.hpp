// SPDX-License-Identifier: Apache-2.0
// Runs expert-parallel dispatch and combine, with all ranks in this process or spread over several,
// and checks every result against a serial reference.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <ringer/ep/buffer.hpp>
#include <ringer/ep/config.hpp>
#include <ringer/sim/fabric.hpp>

#include "ep_launcher.hpp"
#include "routing.hpp"

namespace ringer::tools {

/// Where kernels run.
enum class EpDevice { host, cuda };

/// Where the windows of kernels on GPUs lie.
enum class EpWindows {
  automatic,  ///< in GPU memory if peers map it or the NICs take it
  gpu,
  host,  ///< pinned
};

/// Whose queues they post to.
enum class EpBackend { sim, mlx5, verbs };

struct EpOptions {
  ep::Config config;
  EpDevice device = EpDevice::host;
  EpBackend backend = EpBackend::sim;
  EpWindows windows = EpWindows::automatic;
  uint32_t ranks_per_node = 0;  ///< 0: all ranks on one node
  ep::PathRequest path = ep::PathRequest::automatic;
  ep::PathOverride path_override;  ///< tests: a path for each pair
  std::shared_ptr<const Routing> routing;
  bool zero_copy = false;
  bool split_phases = false;  ///< send and receive as launches of their own
  uint64_t seed = 1;
  bool check = true;
  /// Of a launch. On a GPU a wish for fewer than fit; 0: as many as fit.
  uint32_t blocks = 2;
  uint32_t warps_per_block = 4;
  sim::NicConfig nic;
  /// Single-threaded and reproducible: the executor steps NICs and proxies itself, `pump_wqes` WQEs
  /// a NIC between two rounds of warps, on a virtual clock. Else NICs and proxies have threads.
  bool deterministic = false;
  uint32_t pump_wqes = 1;
  uint64_t schedule_seed = 0;  ///< sim::SimtOptions::seed
  /// File tree of the node that NICs are assigned by; if it is a recorded one, ranks on the host
  /// stand for its GPUs in their order. Empty: this machine's.
  std::string topology;
  /// The processes that the ranks are spread over, in blocks of equal size; null: all are here.
  Exchange* processes = nullptr;

  uint32_t local_ranks() const {
    return processes == nullptr ? config.ranks : config.ranks / processes->ranks();
  }
  uint32_t first_rank() const {
    return processes == nullptr ? 0 : processes->rank() * local_ranks();
  }
  /// True if no pair of ranks needs a NIC.
  bool shared_memory_only() const {
    const bool one_node = ranks_per_node == 0 || ranks_per_node >= config.ranks;
    return !path_override && one_node &&
           (path == ep::PathRequest::automatic || path == ep::PathRequest::ipc);
  }
};

struct PhaseTimes {
  double dispatch_us = 0;
  double dispatch_send_us = 0;  ///< split phases only, as the three below
  double dispatch_receive_us = 0;
  double combine_us = 0;
  double combine_send_us = 0;
  double combine_receive_us = 0;
};

/// What one iteration did. `wrong` counts rows of dispatch and tokens of combine that differ from
/// the reference; `digest` is a hash of all outputs in canonical order, equal for equal results.
struct EpIteration {
  PhaseTimes times;
  uint64_t messages = 0;        ///< dispatched by all ranks
  uint64_t dispatch_bytes = 0;  ///< payload and scales dispatched, mean over ranks
  uint64_t combine_bytes = 0;   ///< rows combined, mean over ranks
  uint64_t wrong_dispatch = 0;
  uint64_t wrong_combine = 0;
  uint64_t digest = 0;
  std::string first_wrong;  ///< where the first difference is; empty if none
};

struct NicTotals {
  uint64_t doorbells = 0;
  uint64_t wqes = 0;
  uint64_t cqes = 0;
  uint64_t error_cqes = 0;
  uint64_t bytes_moved = 0;
};

struct EpBench {
  EpSamples dispatch, combine;
  EpIteration result;  ///< of the last dispatch and combine; its times are unused
};

/// A rank failed, a launch deadlocked or the NIC saw a violation: the text says which. Exit code 1.
class EpFailure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// This process's ranks of one group. With several processes, construction and all methods that are
/// not const are collective: they return the same in all, or throw the same (SharedMark) in all.
class EpGroup {
 public:
  /// Throws std::invalid_argument (bad shape; exit code 2) or BackendError (the environment cannot
  /// run it; exit code 3) before anything has run.
  explicit EpGroup(const EpOptions& options);
  ~EpGroup();
  EpGroup(const EpGroup&) = delete;
  EpGroup& operator=(const EpGroup&) = delete;

  /// One dispatch, the experts, one combine. Throws EpFailure.
  EpIteration iterate(uint64_t iteration);

  /// Runs one call, then `launches` of dispatch alone and as many of combine alone, and checks the
  /// results of the last ones. Throws EpFailure.
  EpBench bench(uint32_t launches);

  const EpOptions& options() const;
  /// The paths between all ranks, row by row, and for people.
  const std::vector<ep::PathChoice>& paths() const;
  std::string path_table() const;
  /// Backend::describe(), and where windows lie if NICs had a say in it.
  std::string backend_text() const;
  /// One word for the whole group: "ibgda", "ipc", "fifo" or "mixed".
  std::string path_summary() const;
  uint32_t queue_pairs() const;  ///< of all ranks
  NicTotals nic_totals();        ///< of all ranks; all 0 where the NICs are not ours
  ep::Buffer& buffer(uint32_t local_rank);
  sim::Fabric& fabric();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ringer::tools
