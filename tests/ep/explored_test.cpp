// SPDX-License-Identifier: Apache-2.0
// Whole kernels under exploration: dispatch and combine through mapped memory, whose flags,
// barriers and bulk copies go through the memory model.
#include <algorithm>

#include <ringer/ep/combine.hpp>
#include <ringer/ep/dispatch.hpp>
#include <ringer/sim/explore/explored_warp.hpp>
#include <ringer/sim/explore/search.hpp>

#include "call_sequence.hpp"

namespace ringer::test {
namespace {

using sim::ExploredGrid;
using sim::ExploredWarp;
using sim::ExploreResult;
using sim::SimPlatform;

constexpr uint32_t kBlocks = 2;
constexpr uint32_t kWarps = 2;

tools::EpOptions mapped_group(uint32_t ranks) {
  tools::EpOptions o = small_group();
  o.config.ranks = ranks;
  o.config.max_tokens = 2;
  o.config.hidden = 128;
  o.path = ep::PathRequest::ipc;
  o.ranks_per_node = 0;
  return o;
}

/// A launch of `kernel(platform, warp, rank)` on all ranks, each on a GPU of its own. Executions
/// follow each other on the same group, as calls do.
class ExploredLaunch : public sim::Scenario {
 public:
  using Kernel = std::function<void(SimPlatform, ExploredWarp, uint32_t)>;

  ExploredLaunch(CallSequence& calls, Kernel kernel, std::function<std::string()> check)
      : calls_(calls), kernel_(std::move(kernel)) {
    const uint32_t ranks = calls.options().config.ranks;
    for (uint32_t r = 0; r < ranks; ++r) {
      grids_.push_back(std::make_unique<ExploredGrid>(
          kBlocks, kWarps, ep::shared_bytes(calls.group().buffer(r).layout(), kWarps)));
      for (uint32_t w = 0; w < kBlocks * kWarps; ++w) add_warp(r, w / kWarps, w % kWarps);
    }
    program_.reset = [] {};
    program_.check = [this, check = std::move(check)] {
      for (uint32_t r = 0; r < calls_.options().config.ranks; ++r) {
        const auto failure = calls_.group().buffer(r).failure();
        if (failure.code != 0) return ep::describe(failure);
      }
      return check();
    };
    program_.max_locations = 512;
    program_.max_steps = 100'000;
  }

 private:
  void add_warp(uint32_t rank, uint32_t block, uint32_t warp) {
    program_.actors.push_back({"rank" + std::to_string(rank) + ".block" + std::to_string(block) +
                                   ".warp" + std::to_string(warp),
                               {rank, rank * kBlocks + block},
                               [=, this](const SimPlatform& p) {
                                 kernel_(p, ExploredWarp(p, *grids_[rank], block, warp), rank);
                               }});
  }

  CallSequence& calls_;
  Kernel kernel_;
  std::vector<std::unique_ptr<ExploredGrid>> grids_;
};

/// Two dispatches in one launch, a rank possibly one ahead.
std::unique_ptr<ExploredLaunch> dispatch_twice(CallSequence& calls) {
  return std::make_unique<ExploredLaunch>(
      calls,
      [&](const SimPlatform& p, const ExploredWarp& w, uint32_t r) {
        for (uint32_t call = 0; call < 2; ++call) {
          ep::dispatch(p, w, calls.dispatch_args(call, r));
          w.grid_sync();
        }
      },
      [&calls]() -> std::string {
        for (uint32_t call = 0; call < 2; ++call) {
          const tools::EpReference reference(calls.options().config, calls.inputs(call));
          tools::Differences differences;
          uint64_t digest = 0;
          for (uint32_t r = 0; r < calls.options().config.ranks; ++r) {
            reference.check_dispatch(r, calls.dispatch_args(call, r), differences, digest);
          }
          if (differences.count != 0) return "wrong: " + differences.first;
        }
        return "";
      });
}

TEST_CASE("two dispatches in a row are right in many executions, old loads and all",
          "[ep][explore]") {
  const uint32_t ranks = GENERATE(2u, 3u, 4u);
  CallSequence calls(mapped_group(ranks), 1);
  const auto launch = dispatch_twice(calls);
  const ExploreResult drawn = explore_random(launch->program(), 1, 10);
  INFO(drawn.failure);
  CHECK(drawn.complete);
  const ExploreResult by_priority = explore_pct(launch->program(), 1, 10, 5, 3000);
  INFO(by_priority.failure);
  CHECK(by_priority.complete);
}

}  // namespace
}  // namespace ringer::test
