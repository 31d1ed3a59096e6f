// SPDX-License-Identifier: Apache-2.0
#include <ringer/sim/simt_executor.hpp>

#include "p2p_launcher.hpp"

namespace ringer::tools {

namespace {

/// The executor reads its clock once a round; a benchmark needs the time itself.
class ClockedPlatform : public sim::FiberPlatform {
 public:
  using FiberPlatform::FiberPlatform;
  uint64_t now_ns() const { return HostPlatform::now_ns(); }
};

class HostP2pLauncher : public P2pLauncher {
 public:
  KernelMemory& memory() override { return host_memory(); }

  void post(const p2p::PostArgs& args, const p2p::PolicyChoice& policy,
            const p2p::PostShape& shape) override {
    p2p::with_policy(policy, [&]<class Policy>(Policy) {
      launch(
          {"post", shape.blocks, shape.warps_per_block + p2p::kServers<Policy>, 0,
           [&](sim::SimtWarp warp) { p2p::post<Policy>(ClockedPlatform(executor_), warp, args); }});
    });
  }

  void ping_pong(const p2p::PingPongArgs& args, RecordOrder record) override {
    p2p::with_record(record, [&]<class Policy>(Policy) {
      launch({"ping_pong", 2, 1, 0, [&](sim::SimtWarp warp) {
                p2p::ping_pong<Policy>(ClockedPlatform(executor_), warp, args);
              }});
    });
  }

 private:
  void launch(const sim::Grid& grid) {
    const sim::LaunchReport report = executor_.launch({&grid, 1});
    if (!report.completed) throw BenchFailure(grid.name + ": " + report.deadlock);
  }

  sim::SimtExecutor executor_;
};

}  // namespace

std::unique_ptr<P2pLauncher> make_p2p_launcher(BenchDevice device) {
  if (device == BenchDevice::cuda) return make_cuda_p2p_launcher();
  return std::make_unique<HostP2pLauncher>();
}

}  // namespace ringer::tools
