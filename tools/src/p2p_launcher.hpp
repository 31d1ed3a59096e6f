// SPDX-License-Identifier: Apache-2.0
// Where the point-to-point kernels run: fibers of this process, or a GPU.
#pragma once

#include <memory>
#include <stdexcept>

#include <ringer/kernel_memory.hpp>
#include <ringer/p2p/cuda_launch.hpp>

namespace ringer::tools {

enum class BenchDevice { host, cuda };

/// What was measured did not come through: the text says what. Exit code 1.
class BenchFailure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class P2pLauncher {
 public:
  virtual ~P2pLauncher() = default;
  /// Memory of the kernels: windows and queues where a software NIC reaches them.
  virtual KernelMemory& memory() = 0;
  /// Each runs one launch to its end. Throws BenchFailure if it cannot.
  virtual void post(const p2p::PostArgs& args, const p2p::PolicyChoice& policy,
                    const p2p::PostShape& shape) = 0;
  virtual void ping_pong(const p2p::PingPongArgs& args, RecordOrder record) = 0;
};

/// Throws BackendError if this build or machine has no such device.
std::unique_ptr<P2pLauncher> make_p2p_launcher(BenchDevice device);

/// The GPU's. Throws BackendError if this build or machine has none.
std::unique_ptr<P2pLauncher> make_cuda_p2p_launcher();

}  // namespace ringer::tools
