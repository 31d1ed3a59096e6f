// SPDX-License-Identifier: Apache-2.0
// Publication: in order, one poster at a time, and nobody waits for ever behind a stalled one.
#include <utility>

#include <ringer/endpoint.hpp>

#include "support/catch.hpp"
#include "support/queue_fixture.hpp"

namespace ringer::test {
namespace {

QueueSetup any_start() {
  const auto start = GENERATE(as<uint64_t>{}, 0, 65536 - 3, (uint64_t{1} << 32) - 3);
  return ring_of(8, CqMode::collapsed, start);
}

// Bug class R6: publication out of order lets the NIC run over a slot that nobody has written.
TEMPLATE_TEST_CASE("a range published out of order waits, and a stalled poster fails the queue",
                   "[publish]", SharedByCta, SharedByGpu) {
  QueueFixture f(any_start());
  auto queue = f.queue<TestType>();
  const auto first = queue.reserve(1, f.soon());
  const auto second = queue.reserve(1, f.soon());
  queue.write(second.range.base,
              Wire::make_nop({second.range.base, f.view.qpn, Wire::signal_flags(true)}));

  const Status status = queue.publish(second.range, true, f.soon());
  CHECK(status.code == StatusCode::deadline);
  CHECK(status.peer == QueueFixture::kFarRank);
  CHECK(f.probe.last_site == "publish turn");
  CHECK(f.heads().ready_head == first.range.base);
  CHECK(f.probe.doorbells == 0);
  CHECK(f.view.dbr[1].raw == Wire::dbr_value(first.range.base).raw);
  CHECK(f.counters().wqes == 0);

  auto ep = f.endpoint<TestType>();
  CHECK(ep.put_inline(1, f.remote(), kLoud, f.never()).status.code == StatusCode::deadline);
  CHECK(queue.try_reserve(1).status.code == StatusCode::deadline);
  CHECK(ep.wait({second.range.end()}, f.never()).code == StatusCode::deadline);
  CHECK(ep.flush(f.never()).code == StatusCode::deadline);
}

TEMPLATE_TEST_CASE("the second poster's WQEs follow the first's, whoever publishes first",
                   "[publish]", SharedByCta, SharedByGpu) {
  QueueFixture f(any_start());
  auto queue = f.queue<TestType>();
  const auto first = queue.reserve(2, f.soon());
  const auto second = queue.reserve(1, f.soon());
  queue.write(second.range.base, Wire::make_write_value({second.range.base, f.view.qpn, 0x08},
                                                        uint64_t{3}, f.remote(0)));
  bool published = false;
  f.probe.on_idle = [&] {
    if (std::exchange(published, true)) return;
    for (uint64_t i = 0; i < 2; ++i) {
      queue.write(first.range.base + i,
                  Wire::make_write_value({first.range.base + i, f.view.qpn}, i + 1, f.remote(0)));
    }
    REQUIRE(queue.publish(first.range, false, f.soon()).ok());
  };
  REQUIRE(queue.publish(second.range, true, f.soon()).ok());
  for (uint64_t expected = 1; expected <= 3; ++expected) {
    f.step(1);
    CHECK(f.far.words[0] == expected);
  }
  CHECK(f.violations() == "");
}

TEMPLATE_TEST_CASE("a poster that waits for its turn leaves when the queue fails", "[publish]",
                   SharedByCta, SharedByGpu) {
  QueueFixture f(ring_of(8));
  auto queue = f.queue<TestType>();
  queue.reserve(1, f.soon());
  const auto second = queue.reserve(1, f.soon());
  f.probe.on_idle = [&] { f.near.qp->abort(); };
  CHECK(queue.publish(second.range, true, f.never()).code == StatusCode::aborted);
}

TEMPLATE_TEST_CASE("whoever rings waits for the holder of the publish ticket", "[publish]",
                   SharedByCta, SharedByGpu) {
  QueueFixture f(ring_of(8));
  auto queue = f.queue<TestType>();
  const auto range = queue.reserve(1, f.soon()).range;
  REQUIRE(queue.take_ticket(range, f.soon()).ok());

  CHECK(queue.ring(f.soon()).code == StatusCode::deadline);
  CHECK(f.probe.doorbells == 0);
  CHECK(queue.completions().error_status().ok());  // the holder may still come

  queue.write(range.base, Wire::make_nop({range.base, f.view.qpn, Wire::signal_flags(true)}));
  queue.release_ticket(range, false);
  CHECK(f.probe.doorbells == 0);
  REQUIRE(queue.ring(f.soon()).ok());
  CHECK(f.probe.doorbells == 1);
  REQUIRE(queue.ring(f.soon()).ok());  // nothing new: no doorbell
  CHECK(f.probe.doorbells == 1);
  REQUIRE(queue.completions().wait_consumed(range.end(), f.soon(), "nop").status.ok());
  CHECK(f.violations() == "");
}

TEMPLATE_TEST_CASE("cons <= prod <= ready <= resv, and each moves when it should", "[publish]",
                   Exclusive, SharedByCta, SharedByGpu) {
  QueueFixture f(any_start());
  auto queue = f.queue<TestType>();
  const SqState& s = f.heads();
  const uint64_t start = s.resv_head;
  const auto range = queue.reserve(2, f.soon()).range;
  CHECK((s.resv_head == start + 2 && s.ready_head == start));
  for (uint64_t i = 0; i < 2; ++i) {
    queue.write(start + i, Wire::make_nop({start + i, f.view.qpn, Wire::signal_flags(true)}));
  }
  REQUIRE(queue.publish(range, false, f.soon()).ok());
  // A silent post of a shared queue is a mark; whoever rings collects it.
  CHECK(s.ready_head == start);
  constexpr bool kMarks = TestType::kSharing != Sharing::exclusive;
  CHECK(f.view.range_ends[start % 8] == (kMarks ? start + 2 : 0));
  CHECK(s.prod_idx == start);
  REQUIRE(queue.ring(f.soon()).ok());
  CHECK(s.ready_head == start + 2);
  CHECK(s.prod_idx == start + 2);
  CHECK(s.cons_idx == start);
  f.step(1);
  CHECK(s.cons_idx == start);  // nobody has polled
  REQUIRE(queue.completions().poll().ok());
  CHECK(s.cons_idx == start + 1);
  f.step(1);
  REQUIRE(queue.completions().poll().ok());
  CHECK(s.cons_idx == start + 2);
}

}  // namespace
}  // namespace ringer::test
