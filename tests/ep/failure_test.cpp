// SPDX-License-Identifier: Apache-2.0
// What happens when something is wrong: refused early with a reason, or ended in time with a name.
#include <atomic>
#include <span>
#include <stdexcept>
#include <vector>

#include <ringer/ep/dispatch.hpp>
#include <ringer/sim/simt_executor.hpp>

#include "ep_support.hpp"

using namespace ringer;
using namespace ringer::test;
using tools::EpFailure;
using tools::EpGroup;
using tools::EpOptions;

namespace {

std::string failure_of(EpGroup& group, uint64_t iteration) {
  try {
    group.iterate(iteration);
  } catch (const EpFailure& failure) {
    return failure.what();
  }
  return "no failure";
}

std::string refusal_of(const EpOptions& options) {
  try {
    const EpGroup group(options);
  } catch (const BackendError& error) {
    return error.what();
  }
  return "no refusal";
}

}  // namespace

TEST_CASE("a dead peer ends the call and is named", "[ep]") {
  EpOptions o = small_group();
  o.routing = tools::uniform_routing();
  o.config.max_tokens = 8;
  const uint32_t dead = GENERATE(0u, 2u, 3u);
  SECTION("IBGDA: transport retry exceeded") {}
  SECTION("FIFO") { o.path = ep::PathRequest::fifo; }
  SECTION("owner-bit completion queues") { o.config.cq_mode = CqMode::owner_bit; }
  SECTION("split phases") { o.split_phases = true; }
  EpGroup group(o);
  group.iterate(0);
  group.fabric().nic(dead).power_off();
  const std::string text = failure_of(group, 1);
  INFO(text);
  bool named = false;
  for (uint32_t r = 0; r < o.config.ranks; ++r) {
    const ep::FailureRecord& failure = group.buffer(r).failure();
    REQUIRE(failure.code != 0);
    if (r == dead) continue;
    // The survivors blame the dead rank, or one that has stopped because of it.
    named = named || failure.peer == dead;
  }
  REQUIRE(named);
}

TEST_CASE("a survivor's error names peer, queue pair and syndrome", "[ep]") {
  EpOptions o = small_group();
  o.config.ranks = 2;
  o.config.topk = 2;
  // Collapsed: flush CQEs overwrite the one that says why. The cause must come out all the same.
  o.config.cq_mode = GENERATE(CqMode::collapsed, CqMode::owner_bit);
  EpGroup group(o);
  group.iterate(0);
  group.fabric().nic(1).power_off();
  const std::string text = failure_of(group, 1);
  REQUIRE_THAT(text, contains("peer 1"));
  const std::string rank0 = group.buffer(0).describe_failure();
  REQUIRE_THAT(rank0, contains("transport retry exceeded (syndrome 21), peer 1, qpn "));
}

TEST_CASE("the group's failure is the cause, not its first victim", "[ep]") {
  EpOptions o = small_group();
  o.config.ranks = 3;
  o.config.cq_mode = GENERATE(CqMode::collapsed, CqMode::owner_bit);
  EpGroup group(o);
  group.iterate(0);
  // Rank 1 loses rank 0's key. Rank 0 refuses it, and its own end of the connection is flushed.
  const ChannelTable table = group.buffer(1).common_args().channel;
  const_cast<ChannelPeer*>(table.peers)[0].rkey ^= 0x5500;
  const std::string text = failure_of(group, 1);
  INFO(text);
  REQUIRE(text.substr(0, 8) == "rank 1: ");
  REQUIRE_THAT(text, contains("remote access error (syndrome 19), peer 0"));
}

TEST_CASE("a rank that never sends is a deadline with its name", "[ep]") {
  EpOptions o = small_group();
  o.config.ranks = 3;
  SECTION("no NIC could tell: shared memory") { o.ranks_per_node = 0; }
  SECTION("its NIC lives") { o.ranks_per_node = 1; }
  EpGroup group(o);
  constexpr uint32_t kSilent = 2;
  sim::SimtOptions options;
  options.pump = [&] { return group.fabric().step(); };
  sim::SimtExecutor executor(options);
  const int32_t row[] = {0, -1, -1, -1};
  const std::vector<uint16_t> x(o.config.hidden);
  std::vector<uint8_t> received(size_t{9} * 24 * o.config.hidden * 2);
  std::vector<ep::SourceInfo> info(9 * 24);
  std::vector<uint64_t> ranges(9);
  std::vector<uint32_t> counts(3), entry_tokens(3);
  std::vector<ep::TokenEntry> entries(3 * 24 * 4);
  const float weights[4] = {};
  std::vector<ep::DispatchArgs> args;
  std::vector<sim::Grid> grids;
  for (uint32_t r = 0; r < kSilent; ++r) {
    args.push_back({group.buffer(r).common_args(), r == 0 ? 1u : 0u, x.data(), row, weights,
                    received.data(), nullptr, info.data(), ranges.data(), counts.data(),
                    entries.data(), entry_tokens.data()});
  }
  for (uint32_t r = 0; r < kSilent; ++r) {
    grids.push_back({"rank " + std::to_string(r), 1, 2,
                     ep::shared_bytes(group.buffer(r).layout(), 2), [&, r](sim::SimtWarp warp) {
                       ep::dispatch(sim::FiberPlatform(executor), warp, args[r]);
                     }});
  }
  REQUIRE(executor.launch(grids).completed);
  for (uint32_t r = 0; r < kSilent; ++r) {
    REQUIRE(group.buffer(r).failure().code == static_cast<uint32_t>(StatusCode::deadline));
    REQUIRE(group.buffer(r).failure().peer == kSilent);
    REQUIRE(group.buffer(r).describe_failure() == "dispatch receive: deadline passed, peer 2");
  }
}

TEST_CASE("abort ends every wait of a rank", "[ep]") {
  EpOptions o = small_group();
  o.path = GENERATE(ep::PathRequest::ibgda, ep::PathRequest::fifo);
  EpGroup group(o);
  group.buffer(2).abort();
  REQUIRE_THAT(failure_of(group, 0), contains("aborted") || contains("peer 2"));
  REQUIRE_THAT(group.buffer(2).describe_failure(), contains("aborted"));
}

TEST_CASE("routing that no expert can take is refused on the device", "[ep]") {
  EpOptions o = small_group();
  const int32_t wrong = GENERATE(12, 9999, 0x7fffffff);
  o.routing =
      std::make_shared<RoutingBy>([wrong](const tools::RoutingShape&, uint32_t rank, uint32_t t,
                                          uint32_t) { return rank == 1 && t == 3 ? wrong : 0; });
  o.path = GENERATE(ep::PathRequest::ibgda, ep::PathRequest::fifo);
  EpGroup group(o);
  failure_of(group, 0);
  REQUIRE_THAT(group.buffer(1).describe_failure(), contains("dispatch send: invalid request"));
}

TEST_CASE("a failed group stays failed", "[ep]") {
  EpOptions o = small_group();
  EpGroup group(o);
  group.iterate(0);
  group.fabric().nic(1).power_off();
  REQUIRE(failure_of(group, 1) != "no failure");
  REQUIRE(failure_of(group, 2) != "no failure");
}

TEST_CASE("more queue pairs than the NIC has is refused before anything is made", "[ep]") {
  EpOptions o = small_group();
  o.config.experts_per_rank = 20;
  o.nic.max_queue_pairs = 59;
  REQUIRE_THAT(refusal_of(o),
               contains("needs 60 queue pairs (20 local experts x 3 peers off the node)") &&
                   contains("has 59 left"));
  o.nic.max_queue_pairs = 60;
  REQUIRE(refusal_of(o) == "no refusal");
}

TEST_CASE("what the NIC cannot do is refused with the reason", "[ep]") {
  EpOptions o = small_group();
  SECTION("rings deeper than the NIC's") {
    o.nic.max_sq_wqebbs = 32;
    REQUIRE_THAT(refusal_of(o), contains("rings of 64 WQEBBs") && contains("at most 32"));
  }
  SECTION("atomic flags without atomics") {
    o.nic.atomics = false;
    o.config.flags = ep::FlagPolicy::atomic_add;
    REQUIRE_THAT(refusal_of(o), contains("no atomics"));
  }
  SECTION("IPC between nodes") {
    o.path = ep::PathRequest::ipc;
    REQUIRE_THAT(refusal_of(o), contains("ranks 0 and 1 share no memory"));
  }
  SECTION("nothing of this keeps a group on one node from IPC") {
    o.nic.max_queue_pairs = 1;
    o.ranks_per_node = 0;
    REQUIRE(refusal_of(o) == "no refusal");
  }
}

TEST_CASE("a kernel built for other structures than its host does nothing and says so", "[ep]") {
  EpOptions o = small_group();
  EpGroup group(o);
  ep::Buffer& buffer = group.buffer(0);
  ep::DispatchArgs args{};
  args.common = buffer.common_args();
  const bool of_arguments = GENERATE(true, false);
  (of_arguments ? args.common.layout_stamp : args.common.channel.layout_stamp) ^= 1;
  sim::SimtOptions options;
  options.pump = [] { return false; };
  sim::SimtExecutor executor(options);
  const sim::Grid grid{
      "rank 0 dispatch", 1, 2, ep::shared_bytes(buffer.layout(), 2),
      [&](sim::SimtWarp warp) { ep::dispatch(sim::FiberPlatform(executor), warp, args); }};
  REQUIRE(executor.launch(std::span(&grid, 1)).completed);
  REQUIRE(buffer.failure().code == static_cast<uint32_t>(StatusCode::invalid));
}

TEST_CASE("ranks that disagree about the paths do not start", "[ep]") {
  EpOptions o = small_group();
  std::atomic<int> calls{0};
  o.path_override = [&](uint32_t, uint32_t) { return calls++ == 0 ? Path::fifo : Path::ibgda; };
  REQUIRE_THAT(refusal_of(o), contains("disagrees with rank"));
}
