// SPDX-License-Identifier: Apache-2.0
// Whole kernels under exploration: dispatch and combine, through mapped memory and through queue
// pairs, whose flags, barriers and bulk copies go through the memory model.
#include <deque>

#include <ringer/ep/combine.hpp>
#include <ringer/ep/dispatch.hpp>
#include <ringer/sim/explore/explored_warp.hpp>
#include <ringer/sim/explore/search.hpp>

#include "call_sequence.hpp"
#include "explored_nic.hpp"

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

tools::EpOptions posting_group(uint32_t ranks) {
  tools::EpOptions o = mapped_group(ranks);
  o.path = ep::PathRequest::ibgda;
  o.deterministic = true;  // nobody but the explored NICs takes what is posted
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
      add_nics(r);
    }
    program_.reset = [this] { ended_ = done_ = 0; };
    program_.check = [this, check = std::move(check)] {
      for (uint32_t r = 0; r < calls_.options().config.ranks; ++r) {
        const auto failure = calls_.group().buffer(r).failure();
        if (failure.code != 0) return ep::describe(failure);
      }
      return check();
    };
    program_.max_locations = executed_.empty() ? 512 : 2048;
    program_.max_steps = 100'000;
  }

 private:
  void add_warp(uint32_t rank, uint32_t block, uint32_t warp) {
    program_.actors.push_back({"rank" + std::to_string(rank) + ".block" + std::to_string(block) +
                                   ".warp" + std::to_string(warp),
                               {rank, rank * kBlocks + block},
                               [=, this](const SimPlatform& p) {
                                 kernel_(p, ExploredWarp(p, *grids_[rank], block, warp), rank);
                                 end(p);
                               }});
  }

  // The last warp to end lets the NICs go.
  void end(const SimPlatform& p) {
    const uint32_t warps = calls_.options().config.ranks * kBlocks * kWarps;
    if (p.fetch_add<Scope::sys, Order::acq_rel>(&ended_, 1u) + 1 != warps) return;
    p.store<Scope::sys, Order::release>(&done_, 1u);  // pairs with ExploredNic::serve(): acquire
  }

  void add_nics(uint32_t rank) {
    const ChannelTable& table = calls_.group().buffer(rank).common_args().channel;
    for (uint32_t i = 0; i < table.queues * table.ranks; ++i) {
      const uint32_t peer = i % table.ranks;
      if (peer == rank || table.peers[peer].path != Path::ibgda) continue;
      const DeviceQp* qp = &table.qps[i];
      uint64_t& executed = executed_.emplace_back(qp->state->prod_idx);
      program_.actors.push_back({"nic" + std::to_string(rank) + ".qp" + std::to_string(i),
                                 {100 + rank, 1000 + rank},
                                 [=, this, &executed](const SimPlatform& p) {
                                   ExploredNic(p, *qp, executed).serve(&done_);
                                 }});
    }
  }

  CallSequence& calls_;
  Kernel kernel_;
  std::vector<std::unique_ptr<ExploredGrid>> grids_;
  std::deque<uint64_t> executed_;  // WQEs, by queue pair
  uint32_t ended_ = 0;             // warps
  uint32_t done_ = 0;
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

/// What the experts make of what a rank has received.
void run_experts(CallSequence& calls, uint32_t r) {
  const ep::Config& c = calls.options().config;
  const Outputs& got = calls.outputs(0, r);
  const size_t rows = calls.group().buffer(r).layout().rows_per_expert();
  const auto* x = reinterpret_cast<const uint16_t*>(got.x.data());
  for (size_t i = 0; i < c.experts_per_rank * rows * c.hidden; ++i) {
    const auto expert = static_cast<uint32_t>(r * c.experts_per_rank + i / (rows * c.hidden));
    got.y.data()[i] = tools::expert_output(expert, bf16_to_float(x[i]));
  }
}

/// Two combines of one dispatch in one launch.
std::unique_ptr<ExploredLaunch> combine_twice(CallSequence& calls) {
  calls.launch([&](sim::FiberPlatform p, sim::SimtWarp w, uint32_t r) {
    ep::dispatch(p, w, calls.dispatch_args(0, r));
  });
  for (uint32_t r = 0; r < calls.options().config.ranks; ++r) run_experts(calls, r);
  return std::make_unique<ExploredLaunch>(
      calls,
      [&](const SimPlatform& p, const ExploredWarp& w, uint32_t r) {
        const tools::RankRouting& routing = calls.inputs(0)[r].routing;
        const Outputs& got = calls.outputs(0, r);
        for (uint32_t call = 0; call < 2; ++call) {
          const ep::CombineArgs args{calls.group().buffer(r).common_args(),
                                     routing.tokens,
                                     got.y.data(),
                                     routing.experts.data(),
                                     routing.weights.data(),
                                     got.info.data(),
                                     got.ranges.data(),
                                     got.entries.data(),
                                     got.entry_tokens.data(),
                                     calls.outputs(call, r).out.data()};
          ep::combine(p, w, args);
          w.grid_sync();
        }
      },
      [&calls]() -> std::string {
        const tools::EpReference reference(calls.options().config, calls.inputs(0));
        tools::Differences differences;
        for (uint32_t call = 0; call < 2; ++call) {
          for (uint32_t r = 0; r < calls.options().config.ranks; ++r) {
            reference.check_combine(r, calls.outputs(call, r).out.data(), differences);
          }
        }
        return differences.count == 0 ? "" : "wrong: " + differences.first;
      });
}

void check_many(const sim::Program& program) {
  constexpr uint64_t kExecutions = 20;
  const ExploreResult drawn = explore_random(program, 1, kExecutions);
  INFO(drawn.failure);
  CHECK(drawn.complete);
  const ExploreResult by_priority = explore_pct(program, 1, kExecutions, 5, 3000);
  INFO(by_priority.failure);
  CHECK(by_priority.complete);
}

TEST_CASE("two dispatches in a row are right in many executions, old loads and all",
          "[ep][explore]") {
  CallSequence calls(GENERATE(mapped_group(2), mapped_group(3), mapped_group(4), posting_group(2),
                              posting_group(3)),
                     1);
  check_many(dispatch_twice(calls)->program());
}

TEST_CASE("two combines in a row are right in many executions, old loads and all",
          "[ep][explore]") {
  CallSequence calls(GENERATE(mapped_group(2), mapped_group(3), mapped_group(4), posting_group(2)),
                     1);
  check_many(combine_twice(calls)->program());
}

TEST_CASE("the same seed makes the same run of a whole kernel", "[ep][explore]") {
  const auto hash = [](uint64_t seed) {
    CallSequence calls(mapped_group(2), 1);
    return explore_random(dispatch_twice(calls)->program(), seed, 3).hash;
  };
  CHECK(hash(5) == hash(5));
  CHECK(hash(5) != hash(6));
  CHECK(hash(5) == 12010313888927271100u);
}

// What says to the other ranks that data is there. (Nothing here needs the orders of epoch() and
// finish(): a barrier of the grid, or the end of a launch, stands between calls.)
TEST_CASE("each order of the flags between ranks is needed: weakened, it is found",
          "[ep][explore]") {
  sim::SiteList sites;
  {
    CallSequence calls(mapped_group(2), 1);
    const auto launch = dispatch_twice(calls);
    launch->program().sites = &sites;
    REQUIRE(explore_random(launch->program(), 1, 2).complete);
  }
  uint32_t found = 0;
  for (const sim::Mutation& mutation : sites.mutations()) {
    const bool flag = mutation.name.find("wait_flag.load") != std::string::npos ||
                      mutation.name.find("lambda.store3") != std::string::npos;
    if (mutation.file != "kernel_context.hpp" || !flag) continue;
    INFO(mutation.name);
    CallSequence calls(mapped_group(2), 1);
    const auto launch = dispatch_twice(calls);
    launch->program().mutation = &mutation;
    CHECK(explore_random(launch->program(), 1, 200).failure.find("data race: ") == 0);
    ++found;
  }
  CHECK(found == 4);
}

}  // namespace
}  // namespace ringer::test
