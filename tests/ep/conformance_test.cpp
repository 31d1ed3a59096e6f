// SPDX-License-Identifier: Apache-2.0
// Dispatch and combine against the serial reference, over shapes, paths and policies. Every group
// that computes the same thing must produce the same bits.
#include "ep_support.hpp"

using namespace ringer;
using namespace ringer::test;
using tools::EpGroup;
using tools::EpOptions;

namespace {

/// IBGDA, FIFO, IPC and IPC within nodes of two: each exact, all with the same bits.
void require_same_on_all_paths(EpOptions o) {
  const auto expected = run_exact(o, 2);
  o.path = ep::PathRequest::fifo;
  REQUIRE(run_exact(o, 2) == expected);
  o.path = ep::PathRequest::automatic;
  for (const uint32_t per_node : {0u, 2u}) {
    o.ranks_per_node = per_node;
    REQUIRE(run_exact(o, 2) == expected);
  }
}

}  // namespace

TEST_CASE("the seed's and DeepEP's shape is exact in every data type", "[ep][device]") {
  EpOptions o = group_on_device();
  o.config.ranks = 4;
  o.ranks_per_node = 1;
  o.routing = tools::uniform_routing();
  o.config.dtype = GENERATE(ep::Dtype::bf16, ep::Dtype::fp8, ep::Dtype::fp8_ue8m0);
  CAPTURE(o.config.dtype);
  run_exact(o, 2);
}

TEST_CASE("288 experts on 16 ranks are exact", "[ep][device]") {
  EpOptions o = small_group();
  o.config.ranks = 16;
  o.config.experts_per_rank = 18;
  o.config.max_tokens = 64;
  o.config.topk = 8;
  o.routing = tools::uniform_routing();
  o.deterministic = false;
  run_exact(o, 3);
}

TEST_CASE("any number of local experts is exact", "[ep][device]") {
  EpOptions o = small_group();
  o.config.ranks = 2;
  o.config.topk = 2;
  o.config.hidden = 128;
  for (uint32_t experts = 1; experts <= 40; ++experts) {
    CAPTURE(experts);
    o.config.experts_per_rank = experts;
    require_same_on_all_paths(o);
  }
}

TEST_CASE("any number of ranks is exact, powers of two or not", "[ep][device]") {
  EpOptions o = small_group();
  o.config.ranks = GENERATE(1u, 2u, 3u, 5u, 6u, 7u, 9u, 12u);
  CAPTURE(o.config.ranks);
  o.config.topk = 3;
  require_same_on_all_paths(o);
}

TEST_CASE("any launch shape is exact", "[ep]") {
  EpOptions o = small_group();
  const auto expected = run_exact(o);
  const auto shape =
      GENERATE(std::pair{1u, 1u}, std::pair{1u, 7u}, std::pair{3u, 5u}, std::pair{2u, 31u},
               std::pair{7u, 4u}, std::pair{1u, 32u}, std::pair{40u, 2u});
  o.blocks = shape.first;
  o.warps_per_block = shape.second;
  CAPTURE(o.blocks, o.warps_per_block);
  REQUIRE(run_exact(o) == expected);
}

TEST_CASE("IBGDA, IPC, FIFO and their mixtures give the same bits", "[ep][device]") {
  EpOptions o = small_group();
  o.config.dtype = GENERATE(ep::Dtype::bf16, ep::Dtype::fp8);
  o.config.ranks = 6;
  const auto ibgda = run_exact(o);

  SECTION("IPC: all ranks on one node") {
    o.ranks_per_node = 0;
    REQUIRE(run_exact(o) == ibgda);
  }
  SECTION("FIFO") {
    o.path = ep::PathRequest::fifo;
    REQUIRE(run_exact(o) == ibgda);
  }
  SECTION("FIFO with a small ring and one proxy") {
    o.path = ep::PathRequest::fifo;
    o.config.fifo_count = 1;
    o.config.fifo_depth = 4;
    REQUIRE(run_exact(o) == ibgda);
  }
  SECTION("two ranks a node: IPC inside, IBGDA between") {
    o.ranks_per_node = 2;
    REQUIRE(EpGroup(o).path_summary() == "mixed");
    REQUIRE(run_exact(o) == ibgda);
  }
  SECTION("all three in one launch, by pair") {
    o.path_override = [](uint32_t a, uint32_t b) { return static_cast<Path>((a + b) % 3); };
    REQUIRE(EpGroup(o).path_summary() == "mixed");
    REQUIRE(run_exact(o) == ibgda);
  }
}

TEST_CASE("NICs and proxies on threads of their own give the same bits", "[ep][threads]") {
  EpOptions o = small_group();
  const auto expected = run_exact(o, 20);
  o.deterministic = false;
  SECTION("IBGDA") {}
  SECTION("IBGDA with owner-bit completion queues and adaptive doorbells") {
    o.config.cq_mode = CqMode::owner_bit;
    o.config.doorbell = {true, 4};
  }
  SECTION("FIFO") { o.path = ep::PathRequest::fifo; }
  SECTION("all three in one launch, by pair") {
    o.path_override = [](uint32_t a, uint32_t b) { return static_cast<Path>((a + b) % 3); };
  }
  REQUIRE(run_exact(o, 20) == expected);
}

TEST_CASE("phases, zero copy, flags, doorbells and completion queues do not change the bits",
          "[ep][device]") {
  EpOptions o = small_group();
  o.ranks_per_node = 2;
  const auto expected = run_exact(o, 4);

  SECTION("send and receive as launches of their own") { o.split_phases = true; }
  SECTION("zero-copy combine") { o.zero_copy = true; }
  SECTION("split phases and zero copy") {
    o.split_phases = true;
    o.zero_copy = true;
  }
  SECTION("atomic flags") { o.config.flags = ep::FlagPolicy::atomic_add; }
  SECTION("atomic flags over FIFO") {
    o.config.flags = ep::FlagPolicy::atomic_add;
    o.path = ep::PathRequest::fifo;
  }
  SECTION("doorbell every 4") { o.config.doorbell = {false, 4}; }
  SECTION("doorbell each WQE") { o.config.doorbell = {false, 1}; }
  SECTION("adaptive doorbell") { o.config.doorbell = {true, 32}; }
  SECTION("owner-bit completion queues") { o.config.cq_mode = CqMode::owner_bit; }
  SECTION("rings of 2 WQEBBs") { o.config.ring_wqebbs = 2; }
  // A NIC begins at 0.
  SECTION("rings that start just below the 16-bit wrap") {
    if (backend_under_test() == tools::EpBackend::sim) o.config.start_index = 65536 - 5;
  }
  SECTION("rings that start just below the 32-bit wrap") {
    if (backend_under_test() == tools::EpBackend::sim) o.config.start_index = (1ull << 32) - 5;
  }
  SECTION("epochs that wrap their 32-bit tag") { o.config.start_epoch = (1ull << 32) - 3; }
  SECTION("the NIC takes one WQE a step") { o.pump_wqes = 1; }
  SECTION("the NIC is far ahead of the kernels") { o.pump_wqes = 100000; }
  REQUIRE(run_exact(o, 4) == expected);
}

TEST_CASE("the bits do not depend on who moves when", "[ep]") {
  EpOptions o = small_group();
  o.ranks_per_node = 2;
  o.pump_wqes = 1;
  const auto expected = run_exact(o);
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    o.schedule_seed = seed;
    REQUIRE(run_exact(o) == expected);
  }
}

TEST_CASE("1000 back-to-back calls are exact", "[ep]") {
  EpOptions o = small_group();
  o.config.max_tokens = 8;
  o.config.hidden = 128;
  o.config.experts_per_rank = 2;
  o.config.topk = 2;
  SECTION("deterministic, mixed paths") {
    o.path_override = [](uint32_t a, uint32_t b) { return static_cast<Path>((a + b) % 3); };
    run_exact(o, 1000);
  }
  SECTION("on threads") {
    o.deterministic = false;
    run_exact(o, 1000);
  }
}

TEST_CASE("a 64-WQEBB ring carries more than 3 x 65536 WQEs", "[ep][device]") {
  EpOptions o = small_group();
  o.config.ranks = 2;
  o.config.experts_per_rank = 1;
  o.config.topk = 1;
  o.config.hidden = 128;
  o.config.max_tokens = 2048;
  o.config.cq_mode = GENERATE(CqMode::collapsed, CqMode::owner_bit);
  o.path = GENERATE(ep::PathRequest::ibgda, ep::PathRequest::fifo);
  o.pump_wqes = 64;
  // Every token to the other rank: 2048 messages there and 2048 results back on one queue pair.
  o.routing = std::make_shared<RoutingBy>([](const tools::RoutingShape&, uint32_t rank, uint32_t,
                                             uint32_t) { return rank == 0 ? 1 : 0; });
  EpGroup group(o);
  for (uint64_t i = 0; i < 49; ++i) {
    const auto result = group.iterate(i);
    REQUIRE(result.wrong_dispatch + result.wrong_combine == 0);
  }
  if (backend_under_test() != tools::EpBackend::sim) return;  // that NIC counts for itself
  REQUIRE(group.nic_totals().wqes > 2u * 3 * 65536);
  REQUIRE(group.nic_totals().wqes == 49u * 2 * (2048 + 2048 + 2));
}

TEST_CASE("data is unsignaled and un-rung: one CQE and one doorbell a queue pair and phase",
          "[ep]") {
  EpOptions o = small_group();
  o.config.ring_wqebbs = 1024;
  o.routing = tools::uniform_routing();
  EpGroup group(o);
  group.iterate(0);
  const auto totals = group.nic_totals();
  REQUIRE(totals.cqes == 2u * group.queue_pairs());
  REQUIRE(totals.doorbells == 2u * group.queue_pairs());
  REQUIRE(totals.wqes > totals.doorbells);
}

TEST_CASE("the same run twice does the same work", "[ep]") {
  EpOptions o = small_group();
  o.schedule_seed = 7;
  o.config.doorbell = {true, 8};
  const auto run = [&] {
    EpGroup group(o);
    const uint64_t digest = group.iterate(0).digest;
    const auto t = group.nic_totals();
    return std::vector<uint64_t>{digest, t.wqes, t.doorbells, t.cqes, t.bytes_moved};
  };
  REQUIRE(run() == run());
}
