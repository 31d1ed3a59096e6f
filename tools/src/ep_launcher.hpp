// SPDX-License-Identifier: Apache-2.0
// Where the kernels of a group run: fibers of this process, or GPUs.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <ringer/ep/args.hpp>
#include <ringer/ep/cuda_launch.hpp>
#include <ringer/kernel_memory.hpp>

namespace ringer::tools {

struct EpOptions;

enum class EpOp { dispatch, combine };

/// The arguments of this process's ranks, for both operations.
struct EpArgs {
  std::span<const ep::DispatchArgs> dispatch;
  std::span<const ep::CombineArgs> combine;
};

/// Microseconds of each launch; `send` and `receive` are empty unless phases are split.
struct EpSamples {
  std::vector<double> total, send, receive;
};

/// Launches on this process's ranks, all processes of a run at the same time: no launch waits for
/// another process's host. Collective, but for memory().
class EpLauncher {
 public:
  virtual ~EpLauncher() = default;
  /// Learns which ranks of other processes use the same devices. Before anything is launched.
  virtual void share_devices() {}
  /// Memory of a rank's kernels.
  virtual KernelMemory& memory(uint32_t local_rank) = 0;
  /// From now on windows lie in GPU memory, or in pinned host memory. Before memory() is used.
  virtual void place_windows(bool /*on_gpu*/) {}
  /// PCI address of the GPU that a rank's kernels run on; empty: on none.
  virtual std::string gpu_address(uint32_t /*local_rank*/) const { return {}; }
  /// Runs one operation on all ranks together; returns the slowest one's microseconds, of this
  /// process's. Throws EpFailure if it cannot end.
  virtual double run(EpOp op, ep::Phases phases, const EpArgs& args) = 0;
  /// Runs one operation `launches` times with nothing in between; as long as run() says, for each.
  /// A GPU replays a recorded graph, so that the host is not in the way, and a sample of a
  /// whole operation is the mean of ten launches.
  virtual EpSamples sample(EpOp op, bool split, const EpArgs& args, uint32_t launches) = 0;
};

/// Fibers on the calling thread. `pump` moves NICs and proxies if the run is deterministic.
std::unique_ptr<EpLauncher> make_host_launcher(const EpOptions& options,
                                               std::function<bool()> pump);

/// A GPU for each rank of a host, in turn. Throws BackendError if this build or
/// machine has none.
std::unique_ptr<EpLauncher> make_cuda_launcher(const EpOptions& options);

/// "dispatch", "combine send" ...
const char* to_string(EpOp op, ep::Phases phases);

}  // namespace ringer::tools
