// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

#include <ringer/ep/combine.hpp>
#include <ringer/ep/dispatch.hpp>
#include <ringer/sim/simt_executor.hpp>

#include "ep_launcher.hpp"
#include "ep_runner.hpp"
#include "together.hpp"

namespace ringer::tools {

namespace {

using Clock = std::chrono::steady_clock;

void run_kernel(EpOp op, ep::Phases phases, const sim::FiberPlatform& p, sim::SimtWarp w,
                const EpArgs& args, uint32_t local_rank) {
  const bool send = phases != ep::Phases::receive;
  const bool receive = phases != ep::Phases::send;
  if (op == EpOp::dispatch) {
    if (send) ep::dispatch_send(p, w, args.dispatch[local_rank]);
    if (receive) ep::dispatch_receive(p, w, args.dispatch[local_rank]);
  } else {
    if (send) ep::combine_send(p, w, args.combine[local_rank]);
    if (receive) ep::combine_receive(p, w, args.combine[local_rank]);
  }
}

class HostLauncher : public EpLauncher {
 public:
  HostLauncher(const EpOptions& options, std::function<bool()> pump)
      : processes_(options.processes),
        first_rank_(options.first_rank()),
        ranks_(options.local_ranks()),
        blocks_(options.blocks),
        warps_(options.warps_per_block),
        shared_bytes_(warps_ == 0 ? 0 : ep::shared_bytes(ep::make_layout(options.config), warps_)),
        executor_(
            {options.deterministic ? std::move(pump) : nullptr, nullptr, options.schedule_seed}) {
    if (blocks_ == 0 || warps_ == 0 || warps_ > ep::kMaxWarpsPerBlock) {
      throw std::invalid_argument("launch of " + std::to_string(blocks_) + " blocks of " +
                                  std::to_string(warps_) +
                                  " warps; there must be at least one block of 1 to 32 warps");
    }
  }

  KernelMemory& memory(uint32_t /*local_rank*/) override { return host_memory(); }

  double run(EpOp op, ep::Phases phases, const EpArgs& args) override {
    const std::string name = to_string(op, phases);
    std::vector<sim::Grid> grids;
    for (uint32_t r = 0; r < ranks_; ++r) {
      grids.push_back({"rank " + std::to_string(first_rank_ + r) + " " + name, blocks_, warps_,
                       shared_bytes_, [this, op, phases, &args, r](sim::SimtWarp warp) {
                         run_kernel(op, phases, sim::FiberPlatform(executor_), warp, args, r);
                       }});
    }
    start_together(processes_);
    const auto start = Clock::now();
    const sim::LaunchReport report = executor_.launch(grids);
    const std::chrono::duration<double, std::micro> elapsed = Clock::now() - start;
    if (!report.completed) throw EpFailure(name + ": " + report.deadlock);
    return elapsed.count();
  }

  EpSamples sample(EpOp op, bool split, const EpArgs& args, uint32_t launches) override {
    EpSamples samples;
    for (uint32_t i = 0; i < launches; ++i) {
      if (!split) {
        samples.total.push_back(run(op, ep::Phases::both, args));
        continue;
      }
      samples.send.push_back(run(op, ep::Phases::send, args));
      samples.receive.push_back(run(op, ep::Phases::receive, args));
      samples.total.push_back(samples.send.back() + samples.receive.back());
    }
    return samples;
  }

 private:
  Exchange* processes_;
  uint32_t first_rank_;
  uint32_t ranks_;  // of this process
  uint32_t blocks_;
  uint32_t warps_;
  uint32_t shared_bytes_;
  sim::SimtExecutor executor_;
};

}  // namespace

std::unique_ptr<EpLauncher> make_host_launcher(const EpOptions& options,
                                               std::function<bool()> pump) {
  return std::make_unique<HostLauncher>(options, std::move(pump));
}

const char* to_string(EpOp op, ep::Phases phases) {
  static constexpr const char* kNames[2][3] = {{"dispatch", "dispatch send", "dispatch receive"},
                                               {"combine", "combine send", "combine receive"}};
  return kNames[static_cast<size_t>(op)][static_cast<size_t>(phases)];
}

}  // namespace ringer::tools
