// SPDX-License-Identifier: Apache-2.0
// Bug classes that other stacks have shipped, each with the input that showed it.
#include <stdexcept>

#include <ringer/control_plane.hpp>
#include <ringer/soft/soft_backend.hpp>

#include "ep_support.hpp"

using namespace ringer;
using namespace ringer::test;
using tools::EpGroup;
using tools::EpOptions;
using tools::RoutingShape;

TEST_CASE("rank without tokens skips a collective step", "[ep][regression][device]") {
  EpOptions o = small_group();
  const uint32_t idle = GENERATE(0u, 1u, 3u);
  o.routing = std::make_shared<RoutingBy>(
      [](const RoutingShape& s, uint32_t rank, uint32_t t, uint32_t k) {
        return static_cast<int32_t>((rank + t + k) % s.experts);
      },
      [idle](const RoutingShape& s, uint32_t rank) { return rank == idle ? 0 : s.tokens; });
  run_exact(o);
}

TEST_CASE("no rank has any token", "[ep][regression][device]") {
  EpOptions o = small_group();
  o.routing = std::make_shared<RoutingBy>(
      [](const RoutingShape&, uint32_t, uint32_t, uint32_t) { return 0; },
      [](const RoutingShape&, uint32_t) { return 0u; });
  run_exact(o);
}

TEST_CASE("arrival counter collides with its finish tag beyond 1024 tokens to one expert",
          "[ep][regression][device]") {
  EpOptions o = small_group();
  o.config.max_tokens = GENERATE(1023u, 1024u, 1025u, 2049u);
  o.config.hidden = 128;
  o.config.topk = 1;
  o.path = GENERATE(ep::PathRequest::ibgda, ep::PathRequest::fifo);
  o.routing = tools::one_hot_routing(1);
  run_exact(o, 2);
}

TEST_CASE("queue table indexed by local expert overflows beyond 16 experts a rank",
          "[ep][regression][device]") {
  EpOptions o = small_group();
  o.config.experts_per_rank = GENERATE(16u, 17u, 18u);
  o.path = GENERATE(ep::PathRequest::ibgda, ep::PathRequest::fifo);
  EpGroup group(o);
  REQUIRE(group.queue_pairs() == 4 * 3 * o.config.experts_per_rank);
  run_exact(o);
}

TEST_CASE("masked entries and duplicate experts", "[ep][regression][device]") {
  EpOptions o = small_group();
  SECTION("all entries masked") {
    o.routing = std::make_shared<RoutingBy>(
        [](const RoutingShape&, uint32_t, uint32_t, uint32_t) { return -1; });
  }
  SECTION("one expert in every entry: sent once, weighed each time") {
    o.routing =
        std::make_shared<RoutingBy>([](const RoutingShape& s, uint32_t rank, uint32_t t, uint32_t) {
          return static_cast<int32_t>((rank + t) % s.experts);
        });
    EpGroup group(o);
    REQUIRE(group.iterate(0).messages == 4u * o.config.max_tokens);
  }
  SECTION("masks between duplicates") {
    o.routing =
        std::make_shared<RoutingBy>([](const RoutingShape& s, uint32_t, uint32_t t, uint32_t k) {
          return k % 2 == 0 ? -1 : static_cast<int32_t>(t % s.experts);
        });
  }
  run_exact(o);
}

TEST_CASE("a replayed launch meets flags of the call before", "[ep][regression][device]") {
  EpOptions o = small_group();
  o.pump_wqes = 1;
  o.split_phases = GENERATE(false, true);
  EpGroup group(o);
  const auto first = group.iterate(0);
  for (int replay = 0; replay < 5; ++replay) {
    const auto again = group.iterate(0);
    REQUIRE(again.wrong_dispatch + again.wrong_combine == 0);
    REQUIRE(again.digest == first.digest);
  }
}

TEST_CASE("topology inferred from the rank count", "[ep][regression]") {
  EpOptions o = small_group();
  o.config.ranks = 2;
  SECTION("two ranks on two nodes are remote, however few they are") {
    o.ranks_per_node = 1;
    REQUIRE(EpGroup(o).path_summary() == "ibgda");
  }
  SECTION("two ranks on one node share memory") {
    o.ranks_per_node = 2;
    REQUIRE(EpGroup(o).path_summary() == "ipc");
  }
}

namespace {

struct Registration {
  uint32_t rights;
  uint32_t rkey;
};

// A backend whose NIC fails at one rank, in one verb; without a verb it tells what is registered
// there.
class FailingBackend : public Backend {
 public:
  FailingBackend(Backend& inner, uint32_t rank, std::string verb)
      : inner_(inner), rank_(rank), verb_(std::move(verb)) {}
  const char* name() const override { return "failing"; }
  std::unique_ptr<Nic> open_nic(uint32_t rank) override {
    const bool watched = rank == rank_;
    return std::make_unique<FailingNic>(inner_.open_nic(rank), watched ? verb_ : "",
                                        watched ? &registrations : nullptr);
  }

  std::vector<Registration> registrations;

 private:
  class FailingNic : public Nic {
   public:
    FailingNic(std::unique_ptr<Nic> inner, std::string verb, std::vector<Registration>* told)
        : inner_(std::move(inner)), verb_(std::move(verb)), told_(told) {}
    NicCaps caps() const override { return inner_->caps(); }
    std::unique_ptr<MemoryRegion> register_memory(void* address, size_t bytes, uint32_t rights,
                                                  KernelMemory* memory) override {
      if (verb_ == "register_memory") throw BackendError("register_memory: errno 12 injected");
      auto region = inner_->register_memory(address, bytes, rights, memory);
      if (told_ != nullptr) told_->push_back({rights, region->rkey()});
      return region;
    }
    std::unique_ptr<QueuePair> create_queue_pair(const QueuePairConfig& config) override {
      if (verb_ == "create_queue_pair" && ++created_ == 5) {
        throw BackendError("create_queue_pair: errno 12 injected");
      }
      return inner_->create_queue_pair(config);
    }

   private:
    std::unique_ptr<Nic> inner_;
    std::string verb_;
    std::vector<Registration>* told_;
    int created_ = 0;
  };

  Backend& inner_;
  uint32_t rank_;
  std::string verb_;
};

}  // namespace

namespace {

/// Constructs a Buffer on each rank, on threads as set-up requires. What threw leaves its reason.
std::vector<std::unique_ptr<ep::Buffer>> make_buffers(Backend& backend,
                                                      const std::vector<ep::Config>& configs,
                                                      std::vector<std::string>& reasons) {
  const auto ranks = static_cast<uint32_t>(configs.size());
  LocalGroup group(ranks);
  std::vector<std::unique_ptr<ep::Buffer>> buffers(ranks);
  reasons.assign(ranks, "");
  std::vector<std::jthread> threads;
  for (uint32_t r = 0; r < ranks; ++r) {
    threads.emplace_back([&, r] {
      const auto exchange = group.join(r);
      try {
        buffers[r] = std::make_unique<ep::Buffer>(*exchange, backend, configs[r],
                                                  ep::RankPlacement{r, {}, {}});
        exchange->all_gather({});
      } catch (const BackendError& error) {
        reasons[r] = error.what();
      }
    });
  }
  threads.clear();
  return buffers;
}

std::vector<std::unique_ptr<ep::Buffer>> make_buffers(Backend& backend, const ep::Config& config,
                                                      std::vector<std::string>& reasons) {
  return make_buffers(backend, std::vector(config.ranks, config), reasons);
}

void require_empty(sim::Fabric& fabric, uint32_t ranks) {
  for (uint32_t r = 0; r < ranks; ++r) {
    REQUIRE(fabric.nic(r).queue_pairs() == 0);
    REQUIRE(fabric.nic(r).memory_regions() == 0);
  }
}

}  // namespace

TEST_CASE("one rank falls back alone after its set-up failed", "[ep][regression]") {
  const std::string verb = GENERATE(as<std::string>{}, "register_memory", "create_queue_pair");
  sim::Fabric fabric;
  soft::SoftBackend soft(fabric);
  FailingBackend backend(soft, 1, verb);
  ep::Config config = small_group().config;
  config.ranks = 3;
  std::vector<std::string> reasons;
  make_buffers(backend, config, reasons);
  for (const std::string& reason : reasons) {
    REQUIRE(reason == "rank 1: " + verb + ": errno 12 injected");
  }
  require_empty(fabric, config.ranks);
}

TEST_CASE("ranks that are configured differently do not start", "[ep][regression]") {
  sim::Fabric fabric;
  soft::SoftBackend backend(fabric);
  ep::Config config = small_group().config;
  config.ranks = 3;
  std::vector<ep::Config> configs(config.ranks, config);
  std::string what;
  SECTION("another width") {
    configs[2].hidden *= 2;
    what =
        "hidden is " + std::to_string(configs[2].hidden) + ", but " + std::to_string(config.hidden);
  }
  SECTION("another kind of flags") {
    configs[2].flags = ep::FlagPolicy::atomic_add;
    what = "flags is 1, but 0";
  }
  SECTION("another epoch") {
    configs[2].start_epoch = 7;
    what = "start_epoch is 7, but 0";
  }
  std::vector<std::string> reasons;
  make_buffers(backend, configs, reasons);
  for (const std::string& reason : reasons) CHECK(reason == "rank 2: " + what + " on rank 0");
  require_empty(fabric, config.ranks);
}

TEST_CASE("flags are registered for strict order, payload for any", "[ep][regression]") {
  sim::Fabric fabric;
  soft::SoftBackend soft(fabric);
  FailingBackend backend(soft, 1, "");
  ep::Config config = small_group().config;
  config.ranks = 2;
  std::vector<std::string> reasons;
  const auto buffers = make_buffers(backend, config, reasons);
  REQUIRE(backend.registrations.size() == 2);
  const auto [payload, flags] = std::pair(backend.registrations[0], backend.registrations[1]);
  CHECK((payload.rights & access::relaxed_order) != 0);
  CHECK((flags.rights & access::relaxed_order) == 0);
  const ChannelPeer& seen = buffers[0]->common_args().channel.peers[1];
  CHECK(seen.rkey == payload.rkey);
  CHECK(seen.flag_rkey == flags.rkey);
}

// A NIC may be unable to take memory that only peers' kernels reach.
TEST_CASE("a window that all peers map is not registered", "[ep][regression]") {
  EpOptions o = small_group();
  o.path = ep::PathRequest::ipc;
  o.ranks_per_node = 0;
  EpGroup mapped(o);
  CHECK(mapped.fabric().nic(0).memory_regions() == 0);
  CHECK(mapped.iterate(0).wrong_dispatch == 0);
  o.path = ep::PathRequest::ibgda;
  o.ranks_per_node = 1;
  EpGroup apart(o);
  CHECK(apart.fabric().nic(0).memory_regions() == 2);
}

TEST_CASE("set-up and teardown leave nothing behind", "[ep][regression]") {
  sim::Fabric fabric;
  soft::SoftBackend backend(fabric);
  ep::Config config = small_group().config;
  config.hidden = 128;
  std::vector<std::string> reasons;
  for (int cycle = 0; cycle < 50; ++cycle) {
    auto buffers = make_buffers(backend, config, reasons);
    REQUIRE(fabric.nic(0).queue_pairs() == 3 * config.experts_per_rank);
    buffers.clear();
    require_empty(fabric, config.ranks);
  }
}
