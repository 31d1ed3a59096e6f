// SPDX-License-Identifier: Apache-2.0
// Doorbells that posters share: marks, the ticket, servers, and records behind their doorbells.
#include <utility>

#include <ringer/endpoint.hpp>
#include <ringer/warp_post.hpp>

#include "support/catch.hpp"
#include "support/interleaver.hpp"
#include "support/queue_fixture.hpp"

namespace ringer::test {
namespace {

template <Sharing kSharing, RecordOrder kRecord, RungBy kRungBy>
using Policy = QueuePolicy<kSharing, Placement::host, TailDoorbell, TailSignal, kRecord, kRungBy>;
template <Sharing kSharing>
using Trailing = Policy<kSharing, RecordOrder::trailing, RungBy::poster>;
template <Sharing kSharing>
using Served = Policy<kSharing, RecordOrder::before_doorbell, RungBy::server>;
using TrailingExclusive = Trailing<Sharing::exclusive>;
using TrailingShared = Trailing<Sharing::gpu>;
using ServedExclusive = Served<Sharing::exclusive>;
using ServedByCta = Served<Sharing::cta>;
using ServedByGpu = Served<Sharing::gpu>;

uint64_t any_start() { return GENERATE(as<uint64_t>{}, 0, 65536 - 3, (uint64_t{1} << 32) - 3); }

// Where no half ring ends within the next few posts.
uint64_t quiet_start() { return GENERATE(as<uint64_t>{}, 0, 65536, uint64_t{1} << 32); }

template <class Queue>
WqeRange write_nops(QueueFixture& f, Queue& queue, uint32_t count) {
  const WqeRange range = queue.reserve(count, f.soon()).range;
  for (uint64_t i = range.base; i < range.end(); ++i) {
    queue.write(i, Wire::make_nop({i, f.view.qpn, Wire::signal_flags(true)}));
  }
  return range;
}

TEMPLATE_TEST_CASE("a silent post does not wait for the poster before it", "[shared_doorbell]",
                   SharedByCta, SharedByGpu) {
  QueueFixture f(ring_of(16, CqMode::collapsed, quiet_start()));
  auto queue = f.queue<TestType>();
  const WqeRange first = write_nops(f, queue, 2);
  const WqeRange second = write_nops(f, queue, 1);
  f.probe.on_idle = [] { FAIL("it waits"); };
  REQUIRE(queue.publish(second, false, f.never()).ok());
  REQUIRE(queue.ring(f.never()).ok());  // nothing without a gap yet
  CHECK(f.probe.doorbells == 0);
  CHECK(f.heads().ready_head == first.base);
  REQUIRE(queue.publish(first, false, f.never()).ok());
  REQUIRE(queue.ring(f.never()).ok());
  CHECK(f.probe.doorbells == 1);
  CHECK(f.heads().prod_idx == second.end());
  CHECK(f.heads().ready_head == second.end());
}

TEMPLATE_TEST_CASE("one doorbell serves all that have published meanwhile", "[shared_doorbell]",
                   SharedByCta, SharedByGpu) {
  const uint32_t ring = GENERATE(16u, 64u);
  QueueFixture f(ring_of(ring, CqMode::collapsed, quiet_start()));
  auto queue = f.queue<TestType>();
  const WqeRange first = write_nops(f, queue, 1);
  std::vector<WqeRange> later;
  for (uint32_t taken = 1; taken + 4 <= ring / 2; taken += 3) {
    later.push_back(write_nops(f, queue, 3));
  }
  // They are published in the wrong order, and the first one only when it is waited for.
  for (size_t i = later.size(); i-- > 1;) {
    REQUIRE(queue.publish(later[i], false, f.soon()).ok());
  }
  const uint64_t forced = f.probe.doorbells;
  bool published = false;
  f.probe.on_idle = [&] {
    if (!std::exchange(published, true)) REQUIRE(queue.publish(first, false, f.soon()).ok());
  };
  REQUIRE(queue.publish(later[0], true, f.soon()).ok());
  CHECK(f.probe.last_site == "publish turn");
  CHECK(f.probe.doorbells == forced + 1);
  CHECK(f.heads().prod_idx == later.back().end());
  f.fabric.run_until_idle();
  CHECK(f.counters().wqes == later.back().end() - first.base);
  CHECK(f.violations() == "");
}

TEMPLATE_TEST_CASE("whoever wanted to ring and finds it done leaves without a doorbell of its own",
                   "[shared_doorbell]", SharedByCta, SharedByGpu) {
  QueueFixture f(ring_of(16));
  auto queue = f.queue<TestType>();
  auto other = f.queue<TestType>();
  const WqeRange first = write_nops(f, queue, 1);
  const WqeRange second = write_nops(f, other, 1);
  bool rung = false;
  f.probe.on_idle = [&] {
    if (!std::exchange(rung, true)) REQUIRE(queue.publish(first, true, f.soon()).ok());
  };
  REQUIRE(other.publish(second, true, f.soon()).ok());
  CHECK(f.probe.doorbells == 1);
  CHECK(f.heads().prod_idx == second.end());
  CHECK(f.violations() == "");
}

// Bug class: a signal publishes without a mark; what is then un-rung must still be announced.
TEMPLATE_TEST_CASE("a silent signal is announced by the next ring", "[shared_doorbell]",
                   SharedByCta, SharedByGpu) {
  QueueFixture f(ring_of(16, CqMode::collapsed, any_start()));
  auto ep = f.endpoint<TestType>();
  uint64_t sequence = 0;
  REQUIRE(ep.put_inline(uint64_t{7}, f.remote(1), kSilent, f.soon()).status.ok());
  REQUIRE(ep.signal({f.remote(0), &sequence}, kSilent, f.soon()).status.ok());
  REQUIRE(ep.queue().ring(f.soon()).ok());
  f.fabric.run_until_idle();
  CHECK(f.far.words[0] == 1);
  CHECK(f.far.words[1] == 7);
  CHECK(f.violations() == "");
}

TEMPLATE_TEST_CASE("a record behind its doorbell is a violation unless the NIC was told",
                   "[shared_doorbell]", TrailingExclusive, TrailingShared) {
  const bool told = GENERATE(true, false);
  QueueSetup setup = ring_of(16, CqMode::collapsed, any_start());
  setup.near.record_may_trail = told;
  QueueFixture f(setup);
  f.probe.on_doorbell = [&] { f.fabric.step(); };  // between doorbell and record
  auto ep = f.endpoint<TestType>();
  for (uint64_t i = 0; i < 20; ++i) {
    const Posted posted = ep.put_inline(i + 1, f.remote(0), kLoud, f.soon());
    REQUIRE(posted.status.ok());
    CHECK(f.far.words[0] == i + 1);
    CHECK(f.view.dbr[1].value() == (f.heads().prod_idx & 0xffff));
    REQUIRE(ep.wait(posted.ticket, f.soon()).ok());
  }
  CHECK((f.violations() == "") == told);
}

TEMPLATE_TEST_CASE("a doorbell that the NIC has lost is stored again by who waits",
                   "[shared_doorbell]", TrailingExclusive, TrailingShared) {
  QueueSetup setup = ring_of(4, GENERATE(CqMode::collapsed, CqMode::owner_bit), any_start());
  setup.near.record_may_trail = true;
  QueueFixture f(setup);
  auto ep = f.endpoint<TestType>();
  bool lost = false;
  const uint64_t lost_at = GENERATE(as<uint64_t>{}, 0, 3, 7);
  f.probe.on_doorbell = [&] {
    if (f.probe.doorbells == lost_at + 1) {
      *f.view.doorbell = 0;
      lost = true;
    }
  };
  for (uint64_t i = 0; i < 8; ++i) {
    REQUIRE(ep.put_inline(i + 1, f.remote(i), kLoud, f.never()).status.ok());
  }
  REQUIRE(ep.flush(f.never()).ok());
  CHECK(lost);
  for (uint64_t i = 0; i < 8; ++i) CHECK(f.far.words[i] == i + 1);
  CHECK(f.violations() == "");
}

TEMPLATE_TEST_CASE("posts to a served queue store no doorbell and do not wait for one",
                   "[shared_doorbell]", ServedExclusive, ServedByCta, ServedByGpu) {
  QueueFixture f(ring_of(16, CqMode::collapsed, any_start()));
  f.probe.on_idle = [] { FAIL("it waits"); };
  auto ep = f.endpoint<TestType>();
  auto server = f.queue<TestType>();
  uint64_t sequence = 0;
  for (uint64_t i = 0; i < 12; ++i) {  // past a half ring
    const Posted posted = i == 5 ? ep.signal({f.remote(5), &sequence}, kLoud, f.never())
                                 : ep.put_inline(i + 1, f.remote(i), kLoud, f.never());
    REQUIRE(posted.status.ok());
  }
  CHECK(f.probe.doorbells == 0);
  const uint32_t done = 1;
  REQUIRE(server.serve(&done, f.never()).ok());
  CHECK(f.probe.doorbells == 1);
  f.fabric.run_until_idle();
  for (uint64_t i = 0; i < 12; ++i) CHECK(f.far.words[i] == (i == 5 ? 1 : i + 1));
  CHECK(f.violations() == "");
}

TEMPLATE_TEST_CASE("a server leaves at its deadline, when aborted and when the queue fails",
                   "[shared_doorbell]", ServedExclusive, ServedByGpu) {
  QueueFixture f(ring_of(16));
  auto server = f.queue<TestType>();
  const uint32_t done = 0;
  SECTION("at its deadline") {
    CHECK(server.serve(&done, f.soon()).code == StatusCode::deadline);
    // Nobody would ring any more, so nobody may wait for it.
    auto ep = f.endpoint<TestType>();
    CHECK(ep.put_inline(uint64_t{1}, f.remote(), kLoud, f.never()).status.code ==
          StatusCode::deadline);
  }
  SECTION("when aborted") {
    f.probe.on_idle = [&] { f.near.qp->abort(); };
    CHECK(server.serve(&done, f.never()).code == StatusCode::aborted);
  }
}

TEMPLATE_TEST_CASE("interleaved posters of a served queue lose nothing", "[shared_doorbell]",
                   ServedByCta, ServedByGpu) {
  constexpr uint64_t kPosters = 3, kPosts = 12;
  const QueueSetup setup = ring_of(4, GENERATE(CqMode::collapsed, CqMode::owner_bit), any_start());
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    INFO("seed " << seed);
    QueueFixture f(setup);
    uint32_t done = 0;
    uint64_t finished = 0;
    uint64_t sequence = 0;
    std::vector<StatusCode> ended(kPosters + 1, StatusCode::invalid);
    Interleaver posters(seed, f.probe, [&] { f.fabric.step(1); });
    for (uint64_t p = 0; p < kPosters; ++p) {
      posters.add([&, p] {
        auto ep = f.endpoint<TestType>();
        Status status;
        for (uint64_t i = 1; i <= kPosts && status.ok(); ++i) {
          status = ep.put_inline(i, f.remote(p), {i % 4 == 0, i % 5 == 0}, f.never()).status;
          if (status.ok()) status = ep.signal({f.remote(9), &sequence}, kSilent, f.never()).status;
        }
        if (status.ok()) status = ep.flush(f.never());
        ended[p] = status.code;
        if (++finished == kPosters) done = 1;
      });
    }
    posters.add([&] { ended[kPosters] = f.queue<TestType>().serve(&done, f.never()).code; });
    posters.run();
    for (const StatusCode code : ended) REQUIRE(code == StatusCode::ok);
    for (uint64_t p = 0; p < kPosters; ++p) REQUIRE(f.far.words[p] == kPosts);
    REQUIRE(f.far.words[9] == kPosters * kPosts);
    REQUIRE(f.violations() == "");
  }
}

// Bug class: a queue is failed because a later poster holds the ticket.
TEMPLATE_TEST_CASE("a poster whose WQE is rung leaves while somebody behind it holds the ticket",
                   "[shared_doorbell]", SharedByCta, SharedByGpu) {
  QueueFixture f(ring_of(16));
  auto first = f.queue<TestType>();
  auto second = f.queue<TestType>();
  auto third = f.queue<TestType>();
  const WqeRange a = write_nops(f, first, 1);
  const WqeRange b = write_nops(f, second, 1);
  const WqeRange c = third.reserve(1, f.soon()).range;
  bool moved = false;
  f.probe.on_idle = [&] {
    if (std::exchange(moved, true)) return;
    REQUIRE(first.publish(a, true, f.soon()).ok());
    REQUIRE(third.take_ticket(c, f.soon()).ok());
  };
  CHECK(second.publish(b, true, f.soon()).ok());
  CHECK(f.probe.doorbells == 1);
}

// Bug class: what has been reserved is announced, though it was never written.
TEST_CASE("a ring of an exclusive queue covers what is published, not what is reserved",
          "[shared_doorbell]") {
  QueueFixture f(ring_of(8));
  f.pause();
  SECTION("after a reservation that found no credit") {
    auto ep = f.endpoint<Exclusive>();
    for (uint64_t i = 0; i < 8; ++i) {
      REQUIRE(ep.put_inline(i, f.remote(i), kLoud, f.soon()).status.ok());
    }
    CHECK_FALSE(ep.put_inline(uint64_t{9}, f.remote(9), kLoud, f.soon()).status.ok());
    CHECK(ep.queue().ring(f.soon()).code == StatusCode::deadline);
    CHECK(f.queue<Exclusive>().ring(f.soon()).code == StatusCode::deadline);
    CHECK(f.heads().prod_idx == 8);
  }
  SECTION("while a reservation is being written") {
    auto queue = f.queue<Exclusive>();
    const WqeRange first = write_nops(f, queue, 1);
    REQUIRE(queue.publish(first, false, f.soon()).ok());
    queue.reserve(1, f.soon());
    REQUIRE(queue.ring(f.soon()).ok());
    CHECK(f.heads().prod_idx == 1);
  }
  f.fabric.run_until_idle();
  CHECK(f.violations() == "");
}

TEMPLATE_TEST_CASE("an endpoint whose signal has failed posts no more", "[shared_doorbell]",
                   SharedByCta, SharedByGpu) {
  QueueFixture f(ring_of(16));
  auto ep = f.endpoint<TestType>();
  uint64_t sequence = 0;
  REQUIRE(ep.put_inline(uint64_t{1}, f.remote(), kLoud, f.soon()).status.ok());
  f.queue<TestType>().reserve(1, f.soon());  // never published
  CHECK(ep.signal({f.remote(), &sequence}, kLoud, f.soon()).status.code == StatusCode::deadline);
  CHECK_FALSE(ep.put_inline(uint64_t{2}, f.remote(), kSilent, f.soon()).status.ok());
}

// Bug class R6 with the fences of the fast policy: the record trails, doorbells are shared.
TEST_CASE("interleaved posters whose records trail lose nothing", "[shared_doorbell]") {
  constexpr uint64_t kPosters = 3, kPosts = 12;
  QueueSetup setup = ring_of(4, GENERATE(CqMode::collapsed, CqMode::owner_bit), any_start());
  setup.near.record_may_trail = true;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    INFO("seed " << seed);
    QueueFixture f(setup);
    std::vector<StatusCode> ended(kPosters, StatusCode::invalid);
    Interleaver posters(seed, f.probe, [&] { f.fabric.step(1); });
    for (uint64_t p = 0; p < kPosters; ++p) {
      posters.add([&, p] {
        auto ep = f.endpoint<TrailingShared>();
        Status status;
        for (uint64_t i = 1; i <= kPosts && status.ok(); ++i) {
          status = ep.put_inline(i, f.remote(p), {i % 4 == 0, i % 3 == 0}, f.never()).status;
        }
        ended[p] = (status.ok() ? ep.flush(f.never()) : status).code;
      });
    }
    posters.run();
    INFO(f.violations() << " " << to_string(f.near.qp->first_error()));
    for (const StatusCode code : ended) REQUIRE(code == StatusCode::ok);
    for (uint64_t p = 0; p < kPosters; ++p) REQUIRE(f.far.words[p] == kPosts);
    REQUIRE(f.violations() == "");
  }
}

}  // namespace
}  // namespace ringer::test
