// SPDX-License-Identifier: Apache-2.0
// Short ways to say which group a test runs, and to run it.
#pragma once

#include <cstdlib>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "ep_runner.hpp"
#include "random.hpp"
#include "support/catch.hpp"

namespace ringer::test {

/// Routing by a function of (shape, rank, token, k): the expert, or -1.
class RoutingBy : public tools::Routing {
 public:
  using Entry = std::function<int32_t(const tools::RoutingShape&, uint32_t, uint32_t, uint32_t)>;
  using Tokens = std::function<uint32_t(const tools::RoutingShape&, uint32_t)>;

  explicit RoutingBy(Entry entry, Tokens tokens = nullptr)
      : entry_(std::move(entry)), tokens_(std::move(tokens)) {}

  tools::RankRouting make(const tools::RoutingShape& shape, uint32_t rank,
                          uint64_t seed) const override {
    tools::RankRouting routing;
    tools::Random random(seed + rank);
    routing.tokens = tokens_ ? tokens_(shape, rank) : shape.tokens;
    for (uint32_t t = 0; t < routing.tokens; ++t) {
      for (uint32_t k = 0; k < shape.topk; ++k) {
        routing.experts.push_back(entry_(shape, rank, t, k));
        routing.weights.push_back(static_cast<float>(random.unit()));
      }
    }
    return routing;
  }

 private:
  Entry entry_;
  Tokens tokens_;
};

/// Any expert or none for each entry, so that rows have masks and duplicates; a different number of
/// tokens on each rank, none on some.
inline std::shared_ptr<const tools::Routing> ragged_routing() {
  class Ragged : public tools::Routing {
    tools::RankRouting make(const tools::RoutingShape& shape, uint32_t rank,
                            uint64_t seed) const override {
      tools::RankRouting routing;
      tools::Random random(tools::Random::mix(seed) ^ (rank * 0x9e37u));
      routing.tokens = random.below(4) == 0 ? 0 : random.below(shape.tokens + 1);
      for (uint32_t i = 0; i < routing.tokens * shape.topk; ++i) {
        routing.experts.push_back(static_cast<int32_t>(random.below(shape.experts + 1)) - 1);
        routing.weights.push_back(static_cast<float>(random.unit()));
      }
      return routing;
    }
  };
  return std::make_shared<Ragged>();
}

/// RINGER_TEST_DEVICE=cuda: the tests tagged [device] run their kernels on GPUs.
inline bool on_gpu() {
  const char* device = std::getenv("RINGER_TEST_DEVICE");
  return device != nullptr && std::string(device) == "cuda";
}

/// RINGER_TEST_BACKEND=mlx5, verbs: they post to queues of NICs that libibverbs knows.
inline tools::EpBackend backend_under_test() {
  const char* backend = std::getenv("RINGER_TEST_BACKEND");
  const std::string name = backend != nullptr ? backend : "sim";
  if (name == "mlx5") return tools::EpBackend::mlx5;
  return name == "verbs" ? tools::EpBackend::verbs : tools::EpBackend::sim;
}

/// Whether NICs are stepped by the group itself.
inline bool steps_nics() { return !on_gpu() && backend_under_test() == tools::EpBackend::sim; }

/// Options of a group on the device under test.
inline tools::EpOptions group_on_device() {
  tools::EpOptions o;
  o.backend = backend_under_test();
  if (on_gpu()) {
    o.device = tools::EpDevice::cuda;
    o.blocks = 4;
    o.warps_per_block = 8;
  }
  return o;
}

/// A small group, every rank on a node of its own, run deterministically (on fibers).
inline tools::EpOptions small_group() {
  tools::EpOptions o = group_on_device();
  o.config.ranks = 4;
  o.config.max_tokens = 24;
  o.config.hidden = 256;
  o.config.topk = 4;
  o.config.experts_per_rank = 3;
  o.config.ring_wqebbs = 64;
  o.ranks_per_node = 1;
  o.routing = ragged_routing();
  o.deterministic = steps_nics();
  o.pump_wqes = 4;
  return o;
}

/// Runs `iterations` calls, requires each to equal the reference, returns the digests.
inline std::vector<uint64_t> run_exact(const tools::EpOptions& options, uint64_t iterations = 3) {
  tools::EpGroup group(options);
  std::vector<uint64_t> digests;
  for (uint64_t i = 0; i < iterations; ++i) {
    const tools::EpIteration result = group.iterate(i);
    INFO(result.first_wrong);
    REQUIRE(result.wrong_dispatch == 0);
    REQUIRE(result.wrong_combine == 0);
    digests.push_back(result.digest);
  }
  return digests;
}

}  // namespace ringer::test
