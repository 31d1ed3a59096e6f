// SPDX-License-Identifier: Apache-2.0
// Calls that follow each other inside one launch, where nothing but the protocol itself keeps a
// fast rank out of the buffers that a slow rank still reads.
#include <algorithm>
#include <vector>

#include <ringer/ep/combine.hpp>
#include <ringer/ep/dispatch.hpp>

#include "call_sequence.hpp"

using namespace ringer;
using namespace ringer::test;

namespace {

EpOptions by_path(ep::PathRequest path) {
  EpOptions o = small_group();
  o.config.ranks = 3;
  o.config.max_tokens = 9;
  o.config.hidden = 128;
  o.path = path;
  if (path == ep::PathRequest::ipc) o.ranks_per_node = 0;
  return o;
}

}  // namespace

TEST_CASE("a rank one dispatch ahead never writes over what a slow rank still reads",
          "[ep][regression]") {
  const EpOptions o =
      by_path(GENERATE(ep::PathRequest::ipc, ep::PathRequest::ibgda, ep::PathRequest::fifo));
  for (uint64_t seed = 0; seed < 12; ++seed) {
    CAPTURE(o.path, seed);
    CallSequence calls(o, seed);
    calls.launch([&](sim::FiberPlatform p, sim::SimtWarp w, uint32_t r) {
      for (uint32_t call = 0; call < kCalls; ++call) {
        const ep::DispatchArgs args = calls.dispatch_args(call, r);
        ep::dispatch(p, w, args);
        w.grid_sync();
      }
    });
    for (uint32_t call = 0; call < kCalls; ++call) {
      const tools::EpReference reference(o.config, calls.inputs(call));
      tools::Differences differences;
      uint64_t digest = 0;
      for (uint32_t r = 0; r < o.config.ranks; ++r) {
        reference.check_dispatch(r, calls.dispatch_args(call, r), differences, digest);
      }
      INFO("call " << call << ": " << differences.first);
      REQUIRE(differences.count == 0);
    }
  }
}

TEST_CASE("a rank one combine ahead never writes over what a slow rank still reads",
          "[ep][regression]") {
  const EpOptions o =
      by_path(GENERATE(ep::PathRequest::ipc, ep::PathRequest::ibgda, ep::PathRequest::fifo));
  const ep::Config& c = o.config;
  for (uint64_t seed = 0; seed < 12; ++seed) {
    CAPTURE(o.path, seed);
    CallSequence calls(o, seed);
    calls.launch([&](sim::FiberPlatform p, sim::SimtWarp w, uint32_t r) {
      const ep::DispatchArgs args = calls.dispatch_args(0, r);
      ep::dispatch(p, w, args);
    });
    // Call number `call` combines rows that all hold call + 1, so a late or early row shows.
    std::vector<ep::CombineArgs> args;
    for (uint32_t call = 0; call < kCalls; ++call) {
      for (uint32_t r = 0; r < c.ranks; ++r) {
        const tools::RankRouting& routing = calls.inputs(0)[r].routing;
        Outputs& o_call = calls.outputs(call, r);
        const size_t values =
            c.experts_per_rank * calls.group().buffer(r).layout().rows_per_expert() * c.hidden;
        std::fill_n(o_call.y.data(), values, float_to_bf16(static_cast<float>(call + 1)));
        args.push_back({calls.group().buffer(r).common_args(), routing.tokens, o_call.y.data(),
                        routing.experts.data(), routing.weights.data(),
                        calls.outputs(0, r).info.data(), calls.outputs(0, r).ranges.data(),
                        calls.outputs(0, r).entries.data(), calls.outputs(0, r).entry_tokens.data(),
                        o_call.out.data()});
      }
    }
    calls.launch([&](sim::FiberPlatform p, sim::SimtWarp w, uint32_t r) {
      for (uint32_t call = 0; call < kCalls; ++call) {
        ep::combine(p, w, args[call * c.ranks + r]);
        w.grid_sync();
      }
    });
    for (uint32_t call = 0; call < kCalls; ++call) {
      for (uint32_t r = 0; r < c.ranks; ++r) {
        const tools::RankRouting& routing = calls.inputs(0)[r].routing;
        for (uint32_t t = 0; t < routing.tokens; ++t) {
          const int32_t* experts = &routing.experts[t * c.topk];
          const auto rank_of = [&](uint32_t k) {
            return experts[k] / static_cast<int32_t>(c.experts_per_rank);
          };
          std::vector<int32_t> seen;  // ranks, in the order of their first entries
          for (uint32_t k = 0; k < c.topk; ++k) {
            if (experts[k] >= 0 && std::find(seen.begin(), seen.end(), rank_of(k)) == seen.end()) {
              seen.push_back(rank_of(k));
            }
          }
          float sum = 0;
          for (const int32_t rank : seen) {
            float of_rank = 0;
            for (uint32_t k = 0; k < c.topk; ++k) {
              if (experts[k] < 0 || rank_of(k) != rank) continue;
              of_rank = of_rank + routing.weights[t * c.topk + k] * static_cast<float>(call + 1);
            }
            sum = sum + of_rank;
          }
          CAPTURE(call, r, t);
          REQUIRE(calls.outputs(call, r).out[size_t{t} * c.hidden] == float_to_bf16(sum));
        }
      }
    }
  }
}
