// SPDX-License-Identifier: Apache-2.0
// Doorbell record, doorbell, and when they are written; which WQEs ask for a CQE.
#include <algorithm>

#include <ringer/endpoint.hpp>

#include "support/catch.hpp"
#include "support/queue_fixture.hpp"

namespace ringer::test {
namespace {

uint64_t any_start() { return GENERATE(as<uint64_t>{}, 0, 65536 - 3, (uint64_t{1} << 32) - 3); }

template <class Policy>
void post_silently(QueueFixture& f, Policy policy, uint64_t count) {
  auto ep = f.endpoint<Policy>(policy);
  for (uint64_t i = 0; i < count; ++i) {
    REQUIRE(ep.put_inline(i + 1, f.remote(i), kSilent, f.soon()).status.ok());
  }
}

// Bug class: the seed wrote the receive element of the doorbell record, and NVSHMEM's CPU path too.
TEMPLATE_TEST_CASE("the send element of the record is written and the receive element never",
                   "[doorbell]", Exclusive, SharedByCta, SharedByGpu) {
  QueueFixture f(ring_of(8, CqMode::collapsed, any_start()));
  auto ep = f.endpoint<TestType>();
  for (uint64_t i = 0; i < 20; ++i) {
    REQUIRE(ep.put_inline(i, f.remote(i), kLoud, f.soon()).status.ok());
    CHECK(f.view.dbr[1].value() == (f.heads().prod_idx & 0xffff));
    CHECK(f.view.dbr[0].raw == 0);
  }
  f.fabric.run_until_idle();
  CHECK(f.violations() == "");
}

// Bug class: the doorbell before the record; a NIC that looks at once reads the old extent.
TEMPLATE_TEST_CASE("the record covers what the doorbell announces when the doorbell lands",
                   "[doorbell]", Exclusive, SharedByCta, SharedByGpu) {
  QueueFixture f(ring_of(8, CqMode::collapsed, any_start()));
  f.pause();
  f.probe.on_doorbell = [&] { f.fabric.step(); };
  f.probe.recording = true;
  auto ep = f.endpoint<TestType>();
  for (uint64_t i = 0; i < 20; ++i) {
    REQUIRE(ep.put_inline(i + 1, f.remote(0), kLoud, f.soon()).status.ok());
    CHECK(f.far.words[0] == i + 1);  // executed within the doorbell store
  }
  CHECK(f.violations() == "");

  const auto& writes = f.probe.writes;
  for (size_t i = 0; i < writes.size(); ++i) {
    if (writes[i].kind != WriteKind::doorbell) continue;
    REQUIRE(i > 0);
    CHECK(writes[i - 1].kind == WriteKind::store);
    CHECK(writes[i - 1].address == &f.view.dbr[1]);
  }
}

TEST_CASE("no WQE is written after the doorbell that announces it", "[doorbell]") {
  QueueFixture f(ring_of(8));
  f.probe.recording = true;
  auto ep = f.endpoint<SharedByGpu>();
  ep.put_inline(uint64_t{1}, f.remote(0), kLoud, f.soon());
  const auto is = [](WriteKind kind) { return [kind](const Write& w) { return w.kind == kind; }; };
  const auto& writes = f.probe.writes;
  const auto wqe = std::find_if(writes.begin(), writes.end(), is(WriteKind::wqe));
  const auto bell = std::find_if(writes.begin(), writes.end(), is(WriteKind::doorbell));
  REQUIRE(wqe != writes.end());
  REQUIRE(bell != writes.end());
  CHECK(wqe < bell);
  CHECK(bell->value == Wire::doorbell_value(1, f.view.qpn));
}

TEMPLATE_TEST_CASE("the tail of every kind of post asks for a CQE and silent posts do not",
                   "[doorbell]", Exclusive, SharedByGpu) {
  const uint64_t start = any_start();
  QueueFixture f(ring_of(64, CqMode::collapsed, start));
  auto ep = f.endpoint<TestType>();
  uint64_t sequence = 0;
  const SignalSlot slot{f.remote(9), &sequence};
  const LocalRef result = f.local(1);
  const auto last = [&](const Posted& posted) {
    REQUIRE(posted.status.ok());
    return f.asks_for_cqe(posted.ticket.target - 1);
  };
  const auto nop = [](uint64_t, const Wire::Head& head) { return Wire::make_nop(head); };
  for (const bool signaled : {true, false}) {
    const PostFlags flags{signaled, false};
    CHECK(last(ep.put(f.local(), f.remote(), 8, flags, f.soon())) == signaled);
    CHECK(last(ep.get(f.local(), f.remote(), 8, flags, f.soon())) == signaled);
    CHECK(last(ep.put_inline(1, f.remote(), flags, f.soon())) == signaled);
    CHECK(last(ep.fetch_add(uint64_t{1}, result, f.remote(), flags, f.soon())) == signaled);
    CHECK(last(ep.compare_swap(1u, 2u, result, f.remote(), flags, f.soon())) == signaled);
    CHECK(last(ep.signal(slot, flags, f.soon())) == signaled);
    CHECK(last(ep.post_batch(3, flags, f.soon(), nop)) == signaled);
    CHECK_FALSE(f.asks_for_cqe(ep.queue().resv_head() - 2));  // before the tail of the batch
  }
  const uint64_t tail = ep.queue().resv_head();
  REQUIRE(ep.flush(f.soon()).ok());
  CHECK(f.asks_for_cqe(tail));
}

TEST_CASE("the tail policy rings only where the caller asks", "[doorbell]") {
  QueueFixture f(ring_of(64));
  f.probe.on_doorbell = [&] { f.fabric.step(); };
  post_silently(f, SharedByGpu{}, 16);
  CHECK(f.counters().doorbells == 0);
  auto ep = f.endpoint<SharedByGpu>();
  REQUIRE(ep.put_inline(uint64_t{17}, f.remote(16), kLoud, f.soon()).status.ok());
  CHECK(f.counters().doorbells == 1);
  CHECK(f.counters().wqes == 17);
}

using EveryFourth = QueuePolicy<Sharing::gpu, Placement::host, EveryDoorbell>;
using Adaptive = QueuePolicy<Sharing::gpu, Placement::host, AdaptiveDoorbell>;
using Any = QueuePolicy<Sharing::gpu, Placement::host, AnyDoorbell>;

TEST_CASE("the every-4 policy rings at each multiple of four", "[doorbell]") {
  const uint64_t start = any_start();
  const uint64_t rings = (start + 16) / 4 - start / 4;
  QueueFixture f(ring_of(64, CqMode::collapsed, start));
  f.probe.on_doorbell = [&] { f.fabric.step(); };
  SECTION("chosen at compile time") { post_silently(f, EveryFourth{{4}, {}}, 16); }
  SECTION("chosen at run time") { post_silently(f, Any{{false, 4}, {}}, 16); }
  CHECK(f.counters().doorbells == rings);
  CHECK(f.counters().wqes == (start + 16) / 4 * 4 - start);
}

TEST_CASE("the adaptive policy rings for a lone poster at once", "[doorbell]") {
  QueueFixture f(ring_of(64));
  f.probe.on_doorbell = [&] { f.fabric.step(); };
  SECTION("chosen at compile time") { post_silently(f, Adaptive{}, 5); }
  SECTION("chosen at run time") { post_silently(f, Any{{true, 0}, {}}, 5); }
  CHECK(f.counters().doorbells == 5);
}

TEST_CASE("the adaptive policy leaves ringing to whoever reserved behind, up to its batch",
          "[doorbell]") {
  QueueFixture f(ring_of(64));
  f.probe.on_doorbell = [&] { f.fabric.step(); };
  auto queue = f.queue<Adaptive>({{4}, {}});
  WqeRange ranges[7];
  for (WqeRange& range : ranges) range = queue.reserve(1, f.soon()).range;
  std::vector<uint64_t> doorbells;
  for (const WqeRange& range : ranges) {
    queue.write(range.base, Wire::make_nop({range.base, f.view.qpn}));
    REQUIRE(queue.publish(range, false, f.soon()).ok());
    doorbells.push_back(f.counters().doorbells);
  }
  CHECK(doorbells == std::vector<uint64_t>{0, 0, 0, 1, 1, 1, 2});
}

TEST_CASE("the every-4 signal policy asks for a CQE at each fourth index", "[doorbell]") {
  const uint64_t start = any_start();
  QueueFixture f(ring_of(64, CqMode::collapsed, start));
  using Policy = QueuePolicy<Sharing::gpu, Placement::host, TailDoorbell, EverySignal>;
  post_silently(f, Policy{{}, {4}}, 16);
  for (uint64_t i = start; i < start + 16; ++i) {
    CHECK(f.asks_for_cqe(i) == ((i + 1) % 4 == 0));
  }
}

}  // namespace
}  // namespace ringer::test
