// SPDX-License-Identifier: Apache-2.0
// Calls of a group that follow each other inside one launch.
#pragma once

#include <span>
#include <string>
#include <vector>

#include <ringer/sim/simt_executor.hpp>

#include "ep_reference.hpp"
#include "ep_support.hpp"
#include "lazy_array.hpp"

namespace ringer::test {

using tools::EpGroup;
using tools::EpOptions;
using tools::LazyArray;

struct Outputs {
  explicit Outputs(const ep::Config& c, const ep::Layout& l)
      : x(c.experts_per_rank * l.rows_per_expert() * l.payload_bytes),
        scales(c.experts_per_rank * l.rows_per_expert() * l.scale_bytes),
        y(c.experts_per_rank * l.rows_per_expert() * c.hidden),
        out(size_t{c.max_tokens} * c.hidden),
        info(c.experts_per_rank * l.rows_per_expert()),
        ranges(size_t{c.experts_per_rank} * c.ranks),
        count(c.experts_per_rank),
        entries(size_t{c.ranks} * c.max_tokens * c.topk),
        entry_tokens(c.ranks) {}
  LazyArray<uint8_t> x, scales;
  LazyArray<uint16_t> y, out;
  LazyArray<ep::SourceInfo> info;
  LazyArray<uint64_t> ranges;
  LazyArray<uint32_t> count;
  LazyArray<ep::TokenEntry> entries;
  LazyArray<uint32_t> entry_tokens;
};

inline constexpr uint32_t kCalls = 6;

/// All ranks of a group, with inputs and outputs of their own for each of kCalls calls.
class CallSequence {
 public:
  explicit CallSequence(const EpOptions& options, uint64_t seed)
      : options_(options), group_(options), executor_({[this] { return pump(); }, nullptr, seed}) {
    const ep::Config& c = options.config;
    for (uint32_t call = 0; call < kCalls; ++call) {
      inputs_.emplace_back();
      for (uint32_t r = 0; r < c.ranks; ++r) {
        inputs_[call].push_back(tools::make_input(c, *options.routing, r, call + 1));
        outputs_.emplace_back(c, group_.buffer(r).layout());
      }
    }
  }

  ep::DispatchArgs dispatch_args(uint32_t call, uint32_t r) {
    const tools::RankInput& in = inputs_[call][r];
    const Outputs& o = outputs_[call * options_.config.ranks + r];
    return {group_.buffer(r).common_args(),
            in.routing.tokens,
            in.x.data(),
            in.routing.experts.data(),
            in.routing.weights.data(),
            o.x.data(),
            o.scales.data(),
            o.info.data(),
            o.ranges.data(),
            o.count.data(),
            o.entries.data(),
            o.entry_tokens.data()};
  }

  /// Runs `kernel(platform, warp, rank)` on all ranks; requires that nothing failed.
  template <class Kernel>
  void launch(Kernel kernel) {
    std::vector<sim::Grid> grids;
    for (uint32_t r = 0; r < options_.config.ranks; ++r) {
      grids.push_back({"rank " + std::to_string(r), 1, 4,
                       ep::shared_bytes(group_.buffer(r).layout(), 4),
                       [&, r](sim::SimtWarp w) { kernel(sim::FiberPlatform(executor_), w, r); }});
    }
    const sim::LaunchReport report = executor_.launch(grids);
    INFO(report.deadlock);
    REQUIRE(report.completed);
    for (uint32_t r = 0; r < options_.config.ranks; ++r) {
      INFO(ep::describe(group_.buffer(r).failure()));
      REQUIRE(group_.buffer(r).failure().code == 0);
    }
  }

  const std::vector<tools::RankInput>& inputs(uint32_t call) const { return inputs_[call]; }
  Outputs& outputs(uint32_t call, uint32_t r) { return outputs_[call * options_.config.ranks + r]; }
  EpGroup& group() { return group_; }
  const EpOptions& options() const { return options_; }

 private:
  bool pump() {
    bool moved = group_.fabric().step(1);
    for (uint32_t r = 0; r < options_.config.ranks; ++r) {
      for (FifoProxy* proxy : group_.buffer(r).proxies()) moved = proxy->step() || moved;
    }
    return moved;
  }

  EpOptions options_;
  EpGroup group_;
  sim::SimtExecutor executor_;
  std::vector<std::vector<tools::RankInput>> inputs_;
  std::vector<Outputs> outputs_;
};

}  // namespace ringer::test
