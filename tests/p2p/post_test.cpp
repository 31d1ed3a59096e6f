// SPDX-License-Identifier: Apache-2.0
// Posting kernels with every policy and shape, on fibers or on a GPU: every byte of every ring is
// compared, and on the software NIC every byte that arrives.
#include <cstdlib>
#include <string>

#include "ping_pong_bench.hpp"
#include "post_bench.hpp"
#include "support/catch.hpp"

namespace ringer::test {
namespace {

using p2p::PolicyChoice;
using p2p::PostShape;
using tools::BenchNic;
using tools::PostRun;

tools::BenchDevice device() {
  const char* where = std::getenv("RINGER_TEST_DEVICE");
  return where != nullptr && std::string(where) == "cuda" ? tools::BenchDevice::cuda
                                                          : tools::BenchDevice::host;
}

tools::P2pLauncher& launcher() {
  static const auto kLauncher = tools::make_p2p_launcher(device());
  return *kLauncher;
}

PostRun run_of(PolicyChoice policy, PostShape shape, uint32_t wqes, uint32_t batch,
               uint32_t doorbell) {
  PostRun run;
  run.rings = {shape, policy, wqes, batch, 8, 64};
  run.doorbell_every = doorbell;
  run.launches = 5;
  return run;
}

void check(const PostRun& run) {
  INFO("sharing " << static_cast<int>(run.rings.policy.sharing) << ", rings in "
                  << static_cast<int>(run.rings.policy.placement) << ", record "
                  << static_cast<int>(run.rings.policy.record) << ", rung by "
                  << static_cast<int>(run.rings.policy.rung_by) << ", " << run.rings.shape.blocks
                  << "x" << run.rings.shape.warps_per_block << " warps on "
                  << run.rings.shape.queue_pairs << ", batch " << run.rings.batch
                  << ", a doorbell every " << run.doorbell_every);
  const tools::PostResult result = run_post(launcher(), run);
  INFO(result.first_wrong);
  REQUIRE(result.wrong == 0);
  REQUIRE(result.launch_ns.size() == run.launches);
}

struct Case {
  Sharing sharing;
  PostShape shape;
};

std::vector<Case> cases() {
  return {{Sharing::exclusive, {1, 1, 1}}, {Sharing::exclusive, {3, 1, 3}},
          {Sharing::exclusive, {2, 4, 8}}, {Sharing::cta, {1, 4, 1}},
          {Sharing::cta, {3, 2, 3}},       {Sharing::gpu, {1, 1, 1}},
          {Sharing::gpu, {4, 4, 1}},       {Sharing::gpu, {8, 2, 3}}};
}

template <class F>
void with_every_policy(F&& f) {
  for (const Case& c : cases()) {
    for (const Placement placement : {Placement::host, Placement::gpu}) {
      for (const RecordOrder record : {RecordOrder::before_doorbell, RecordOrder::trailing}) {
        for (const RungBy rung_by : {RungBy::poster, RungBy::server}) {
          const PolicyChoice policy{c.sharing, placement, record, rung_by};
          if (p2p::shape_trouble(c.shape, policy) == nullptr) f(policy, c.shape);
        }
      }
    }
  }
}

TEST_CASE("what is posted lies in the rings as it should", "[device]") {
  with_every_policy([](const PolicyChoice& policy, const PostShape& shape) {
    for (const uint32_t doorbell : {1u, 3u, 0u}) check(run_of(policy, shape, 4, 1, doorbell));
    check(run_of(policy, shape, 4, 4, 1));
    check(run_of(policy, shape, 4, 2, 2));
  });
}

TEST_CASE("what is posted to the software NIC arrives, ring after ring", "[device]") {
  with_every_policy([](const PolicyChoice& policy, const PostShape& shape) {
    if (policy.placement == Placement::gpu) return;
    for (const uint32_t batch : {1u, 4u, 32u}) {
      PostRun run = run_of(policy, shape, 256, batch, 2);
      run.nic = BenchNic::sim;
      run.launches = 2;
      check(run);
    }
  });
}

TEST_CASE("posting passes 2^16 and stays exact", "[device]") {
  PostRun run = run_of({Sharing::gpu, Placement::host, RecordOrder::before_doorbell,
                        GENERATE(RungBy::poster, RungBy::server)},
                       {4, 4, 1}, 4, 1, 1);
  run.launches = 65536 / 64 + 2;
  check(run);
}

TEST_CASE("ping-pong carries every message", "[device]") {
  tools::PingPongRun run;
  run.record = GENERATE(RecordOrder::before_doorbell, RecordOrder::trailing);
  run.bytes = GENERATE(1u, 2u, 8u, 65u, 4096u);
  run.iterations = 300;
  const tools::PingPongResult result = run_ping_pong(launcher(), run);
  CHECK(result.wrong == 0);
  CHECK(result.round_trips_ns.size() == 300);
}

TEST_CASE("the check of plain rings sees whatever differs") {
  KernelMemory& memory = host_memory();
  const auto host = tools::make_p2p_launcher(tools::BenchDevice::host);
  const PostRun run =
      run_of({Sharing::gpu, Placement::host, RecordOrder::before_doorbell, RungBy::poster},
             {1, 2, 1}, 4, 1, 1);
  const auto rings = tools::make_plain_rings(memory, run.rings);
  KernelArray<p2p::PosterRecord> records(memory, 2);
  p2p::PostArgs args{};
  args.queue_pairs = 1;
  args.wqes = 4;
  args.batch = 1;
  args.doorbell_every = 1;
  args.bytes = 8;
  args.timeout_ns = 1'000'000'000;
  args.records = records.data();
  rings->prepare(args);
  host->post(args, run.rings.policy, run.rings.shape);
  std::string first;
  REQUIRE(rings->check(first) == 0);

  const DeviceQp& qp = args.qps[0];
  auto* sq = static_cast<uint8_t*>(qp.sq);
  const auto tamper = [&](auto& word, const char* what) {
    const auto right = word;
    word = static_cast<std::remove_reference_t<decltype(word)>>(word ^ 1);
    first.clear();
    CHECK(rings->check(first) > 0);
    CHECK(first == std::string("queue pair 0: ") + what);
    word = right;
  };
  tamper(qp.state->resv_head, "resv_head");
  tamper(qp.state->ready_head, "ready_head");
  tamper(qp.state->prod_idx, "prod_idx");
  tamper(qp.dbr[1].raw, "send element of the record");
  tamper(qp.dbr[0].raw, "receive element of the record");
  tamper(*qp.doorbell, "doorbell");
  tamper(sq[3], "bytes of a WQE");
  tamper(sq[64 + 11], "bytes of a WQE");
  tamper(sq[2 * 64 + 40], "bytes of a WQE");
  tamper(sq[3 * 64 + 23], "a WQE is lost, twice there or out of its poster's order");
  CHECK(rings->check(first) == 0);
}

TEST_CASE("shapes that make no sense are refused before anything runs") {
  const PolicyChoice gpu{Sharing::gpu, Placement::host, RecordOrder::trailing, RungBy::poster};
  const auto refused = [](const PostRun& run) {
    CHECK_THROWS_AS(run_post(launcher(), run), std::invalid_argument);
  };
  refused(run_of(gpu, {0, 1, 1}, 4, 1, 1));
  refused(run_of(gpu, {1, 1, 2}, 4, 1, 1));
  refused(run_of(gpu, {1, 1, 1}, 5, 2, 1));
  refused(run_of(gpu, {1, 1, 1}, 65, 1, 1));
  PolicyChoice policy = gpu;
  policy.rung_by = RungBy::server;
  refused(run_of(policy, {1, 2, 1}, 4, 1, 1));
  policy.record = RecordOrder::before_doorbell;
  refused(run_of(policy, {1, 2, 2}, 4, 1, 1));
  policy.sharing = Sharing::exclusive;
  refused(run_of(policy, {1, 2, 2}, 4, 1, 1));
  policy.sharing = Sharing::cta;
  refused(run_of(policy, {2, 2, 1}, 4, 1, 1));
  PostRun nowhere = run_of(gpu, {1, 1, 1}, 4, 1, 1);
  nowhere.nic = BenchNic::sim;
  nowhere.rings.policy.placement = Placement::gpu;
  refused(nowhere);
}

}  // namespace
}  // namespace ringer::test
