// SPDX-License-Identifier: Apache-2.0
// The command ring and its host proxy, and the channel over all three paths.
#include <algorithm>
#include <set>

#include <ringer/channel.hpp>

#include "support/catch.hpp"
#include "support/channel_fixture.hpp"

namespace ringer::test {
namespace {

TEST_CASE("commands of one queue and peer arrive in their order", "[fifo]") {
  ChannelFixture f;
  uint64_t seen[3] = {};
  bool in_order = true;
  f.probe.on_idle = [&] {
    f.step();
    for (const uint32_t peer : {1u, 2u}) {
      const uint64_t now = f.windows[peer][0];
      in_order = in_order && (now == seen[peer] || now == seen[peer] + 1);
      seen[peer] = now;
    }
  };
  for (uint64_t i = 1; i <= 50; ++i) {
    REQUIRE(f.push_value(1, 0, i).ok());
    if (i % 2 == 0) REQUIRE(f.push_value(2, 0, i / 2).ok());
  }
  REQUIRE(f.fifo().flush(f.soon()).ok());
  CHECK(in_order);
  CHECK(f.windows[1][0] == 50);
  CHECK(f.windows[2][0] == 25);
  CHECK(f.violations() == "");
}

TEST_CASE("data put before a value is there when the value is", "[fifo]") {
  ChannelFixture f;
  for (uint64_t i = 1; i <= 20; ++i) {
    f.windows[0][ChannelFixture::kSourceWord] = i * 100;
    REQUIRE(f.push_put(1, 5).ok());
    REQUIRE(f.push_value(1, 6, i).ok());
    REQUIRE(wait_signal(f.platform, &f.windows[1][6], i, f.soon()).ok());
    CHECK(f.windows[1][5] == i * 100);
  }
}

// Bug class R3, host side: a full ring with a stopped proxy.
TEST_CASE("a full command ring holds pushers back until their deadline", "[fifo]") {
  ChannelFixture f;
  f.pause();
  for (uint64_t i = 0; i < 8; ++i) REQUIRE(f.push_value(1, i, 100 + i).ok());
  const std::vector<FifoCommand> full(f.fifos[0].commands, f.fifos[0].commands + 8);
  const Status late = f.push_value(1, 9, 999);
  CHECK(late.code == StatusCode::deadline);
  for (size_t i = 0; i < 8; ++i) {
    CHECK(f.fifos[0].commands[i].tag_op_queue == full[i].tag_op_queue);
    CHECK(f.fifos[0].commands[i].payload == full[i].payload);
  }
  // The ticket left a hole: the ring has failed for everybody, and no peer is to blame.
  const Status later = f.push_value(2, 9, 999);
  CHECK(later.code == StatusCode::deadline);
  CHECK(later.peer == kNoPeer);

  f.run_until_idle();
  for (uint64_t i = 0; i < 8; ++i) CHECK(f.windows[1][i] == 100 + i);
  CHECK(f.windows[1][9] == 0);
}

// Bug class: a slot of an earlier lap taken for a new command.
TEST_CASE("a small ring laps many times and no command is taken twice", "[fifo]") {
  const auto depth = GENERATE(1u, 2u, 4u);
  ChannelSetup setup;
  setup.fifo_depth = depth;
  ChannelFixture f(setup);
  for (uint64_t i = 0; i < 1000; ++i) {
    REQUIRE(f.fifo().push(FifoOp::add_value, 0, 1, 0, 1, 8, f.soon()).ok());
    f.proxies[0]->step();
    f.proxies[0]->step();
  }
  REQUIRE(f.fifo().flush(f.soon()).ok());
  CHECK(f.windows[1][0] == 1000);
  CHECK(f.proxies[0]->posted() == 1000);
  CHECK(f.rings[0]->state().done == 1000);
  CHECK(f.violations() == "");
}

// Bug class R1 and R7 through the proxy: the failed transfer reported as done.
TEST_CASE("a peer that dies fails the flush, by name", "[fifo]") {
  const auto mode = GENERATE(CqMode::collapsed, CqMode::owner_bit);
  ChannelSetup setup;
  setup.qp.cq_mode = mode;
  ChannelFixture f(setup);
  REQUIRE(f.push_value(1, 0, 1).ok());
  REQUIRE(f.fifo().flush(f.soon()).ok());
  f.fabric.nic(2).power_off();
  REQUIRE(f.push_value(1, 0, 2).ok());
  REQUIRE(f.push_value(2, 0, 3).ok());

  const Status status = f.fifo().flush(f.soon());
  INFO(to_string(status));
  CHECK(status.code == StatusCode::qp_error);
  CHECK(status.peer == 2);
  CHECK(status.qpn == f.qps[2].qpn);
  CHECK(status.syndrome == 0x15);
  CHECK(f.push_value(1, 0, 4).code == StatusCode::qp_error);
  CHECK(f.channel().check(0, 1).peer == 2);
  f.run_until_idle();
  CHECK(f.fifo().flush(f.soon()).code == StatusCode::qp_error);
  CHECK(f.windows[2][0] == 0);
}

TEST_CASE("an error ends the wait of a pusher for credit", "[fifo]") {
  ChannelSetup setup;
  setup.fifo_depth = 2;
  ChannelFixture f(setup);
  f.pause();
  f.fabric.nic(2).power_off();
  REQUIRE(f.push_value(2, 0, 1).ok());
  REQUIRE(f.push_value(2, 0, 2).ok());
  f.resume();
  Status status;
  for (uint64_t i = 0; i < 100 && status.ok(); ++i) status = f.push_value(2, 0, 3);
  CHECK(status.code == StatusCode::qp_error);
  CHECK(status.peer == 2);
}

TEST_CASE("flush waits for the NIC, not for the proxy", "[fifo]") {
  ChannelFixture f;
  f.probe.on_idle = [&] { f.proxies[0]->step(); };  // the NICs stand still
  REQUIRE(f.push_value(1, 0, 1).ok());
  CHECK(f.fifo().flush(f.soon()).code == StatusCode::deadline);
  CHECK(f.proxies[0]->posted() == 1);
  f.resume();
  REQUIRE(f.fifo().flush(f.soon()).ok());
  CHECK(f.windows[1][0] == 1);
}

TEST_CASE("the proxy posts what has gathered with one doorbell", "[fifo]") {
  ChannelSetup setup;
  setup.fifo_depth = 64;
  setup.qp.sq_wqebbs = 128;
  ChannelFixture f(setup);
  f.pause();
  for (uint64_t i = 0; i < 60; ++i) REQUIRE(f.push_value(1 + i % 2, i / 2, i + 1).ok());
  f.proxies[0]->step();
  CHECK(f.proxies[0]->posted() == 60);
  CHECK(f.proxies[0]->batches() == 2);
  f.run_until_idle();
  CHECK(f.fabric.nic(0).counters().doorbells == 2);
  for (uint64_t i = 0; i < 60; ++i) CHECK(f.windows[1 + i % 2][i / 2] == i + 1);
}

TEST_CASE("more commands than send-queue credit wait in the proxy", "[fifo]") {
  ChannelSetup setup;
  setup.fifo_depth = 256;
  setup.qp.sq_wqebbs = 8;
  ChannelFixture f(setup);
  f.pause();
  for (uint64_t i = 0; i < 200; ++i) {
    REQUIRE(f.fifo().push(FifoOp::add_value, 0, 1, 0, i, 8, f.soon()).ok());
  }
  f.proxies[0]->step();
  CHECK(f.proxies[0]->posted() == 8);
  f.resume();
  REQUIRE(f.fifo().flush(f.soon()).ok());
  CHECK(f.windows[1][0] == 199 * 200 / 2);
  CHECK(f.violations() == "");
}

// Bug class: a command whose fields are all zero read as "empty" wedges the ring.
TEST_CASE("adding zero is a command like any other", "[fifo]") {
  ChannelFixture f;
  f.windows[1][0] = 5;
  REQUIRE(f.fifo().push(FifoOp::add_value, 0, 1, 0, 0, 8, f.soon()).ok());
  REQUIRE(f.fifo().push(FifoOp::add_value, 0, 1, 0, 2, 8, f.soon()).ok());
  REQUIRE(f.fifo().flush(f.soon()).ok());
  CHECK(f.windows[1][0] == 7);
  CHECK(f.windows[0][ChannelFixture::kScratchWord] == 5);
}

// Bug class: with ranks a multiple of the proxies, every command to a peer lands on one proxy.
TEST_CASE("commands spread over the rings in either index", "[fifo]") {
  const auto fifos = GENERATE(2u, 4u, 8u);
  for (uint32_t fixed = 0; fixed < 8; ++fixed) {
    std::set<uint32_t> by_peer;
    std::set<uint32_t> by_queue;
    for (uint32_t i = 0; i < 8; ++i) {
      by_peer.insert(fifo_shard(fixed, i, fifos));
      by_queue.insert(fifo_shard(i, fixed, fifos));
    }
    CHECK(by_peer.size() == fifos);
    CHECK(by_queue.size() == fifos);
    CHECK(*by_peer.rbegin() < fifos);
  }
}

TEST_CASE("a command ring's depth is a power of two", "[fifo]") {
  CHECK_THROWS_AS(FifoRing(0), BackendError);
  CHECK_THROWS_AS(FifoRing(12), BackendError);
  CHECK_NOTHROW(FifoRing(16));
}

TEST_CASE("a channel delivers the same over every path", "[channel]") {
  ChannelSetup setup;
  setup.path = GENERATE(Path::ipc, Path::ibgda, Path::fifo);
  setup.queues = 2;
  setup.fifos = 2;
  ChannelFixture f(setup);
  auto channel = f.channel();
  f.windows[0][ChannelFixture::kSourceWord] = 42;
  for (const uint32_t queue : {0u, 1u}) {
    for (const uint32_t peer : {1u, 2u}) {
      const uint64_t at = queue * 3 * 8;
      const uint64_t from = ChannelFixture::kSourceWord * 8;
      REQUIRE(channel.put(queue, peer, at, from, 8, kSilent, f.soon()).ok());
      REQUIRE(channel.put_flag(queue, peer, at + 8, 7, kSilent, f.soon()).ok());
      REQUIRE(channel.add_flag(queue, peer, at + 16, 3, kSilent, f.soon()).ok());
      REQUIRE(channel.add_flag(queue, peer, at + 16, 4, kSilent, f.soon()).ok());
      REQUIRE(channel.flush(queue, peer, f.soon()).ok());
      CHECK(f.windows[peer][queue * 3] == 42);
      CHECK(f.windows[peer][queue * 3 + 1] == 7);
      CHECK(f.windows[peer][queue * 3 + 2] == 7);
      CHECK(channel.check(queue, peer).ok());
      CHECK((channel.mapped(peer, 0) != nullptr) == (setup.path == Path::ipc));
    }
  }
  CHECK(f.violations() == "");
}

TEST_CASE("flags go by the key whose writes come after all others", "[channel]") {
  constexpr uint32_t kOtherKey = 0x5500;
  ChannelSetup setup;
  setup.path = GENERATE(Path::ibgda, Path::fifo);
  const bool flags_have_it = GENERATE(false, true);
  ChannelFixture f(setup);
  (flags_have_it ? f.peers[1].rkey : f.peers[1].flag_rkey) ^= kOtherKey;
  auto channel = f.channel();
  SECTION("a stored flag") {
    REQUIRE(channel.put_flag(0, 1, 8, 7, kSilent, f.soon()).ok());
    CHECK(channel.flush(0, 1, f.soon()).ok() == flags_have_it);
    CHECK((f.windows[1][1] == 7) == flags_have_it);
  }
  SECTION("an added flag") {
    REQUIRE(channel.add_flag(0, 1, 8, 7, kSilent, f.soon()).ok());
    CHECK(channel.flush(0, 1, f.soon()).ok() == flags_have_it);
    CHECK((f.windows[1][1] == 7) == flags_have_it);
  }
  SECTION("data") {
    f.windows[0][ChannelFixture::kSourceWord] = 42;
    REQUIRE(channel.put(0, 1, 8, ChannelFixture::kSourceWord * 8, 8, kSilent, f.soon()).ok());
    CHECK(channel.flush(0, 1, f.soon()).ok() != flags_have_it);
    CHECK((f.windows[1][1] == 42) != flags_have_it);
  }
}

// Bug class R1: the reason must stay readable however often it is asked for.
TEST_CASE("a channel goes on naming the error of a dead peer", "[channel]") {
  ChannelSetup setup;
  setup.path = Path::ibgda;
  setup.qp.cq_mode = GENERATE(CqMode::collapsed, CqMode::owner_bit);
  ChannelFixture f(setup);
  auto channel = f.channel();
  f.fabric.nic(2).power_off();
  REQUIRE(channel.put_flag(0, 2, 0, 1, kLoud, f.soon()).ok());
  f.run_until_idle();
  for (int i = 0; i < 3; ++i) {
    const Status status = channel.check(0, 2);
    CHECK(status.code == StatusCode::qp_error);
    CHECK(status.peer == 2);
    CHECK(status.syndrome == 0x15);
  }
  CHECK(channel.check(0, 1).ok());
}

}  // namespace
}  // namespace ringer::test
