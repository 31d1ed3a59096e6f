// SPDX-License-Identifier: Apache-2.0
// Credit: a slot is never written before its WQE has completed, and credit always comes back.
#include <ringer/endpoint.hpp>

#include "support/catch.hpp"
#include "support/queue_fixture.hpp"

namespace ringer::test {
namespace {

constexpr uint64_t kBelow16 = 65536 - 3;
constexpr uint64_t kBelow32 = (uint64_t{1} << 32) - 3;

QueueSetup any_queue(uint32_t wqebbs) {
  const auto mode = GENERATE(CqMode::collapsed, CqMode::owner_bit);
  const auto start = GENERATE(as<uint64_t>{}, 0, kBelow16, kBelow32);
  return ring_of(wqebbs, mode, start);
}

// Bug class R3: no send-queue back-pressure (the seed, DeepEP#180, nccl#2119).
TEMPLATE_TEST_CASE("a full ring gives no credit and no slot of an uncompleted WQE is touched",
                   "[credit]", Exclusive, SharedByCta, SharedByGpu) {
  QueueFixture f(any_queue(8));
  f.pause();
  auto ep = f.endpoint<TestType>();
  for (uint64_t i = 0; i < 8; ++i) {
    REQUIRE(ep.put_inline(100 + i, f.remote(i), kLoud, f.soon()).status.ok());
  }
  const auto full = f.ring_bytes();
  const uint64_t head = ep.queue().resv_head();

  CHECK(ep.queue().try_reserve(1).status.code == StatusCode::no_credit);
  CHECK(ep.queue().resv_head() == head);
  const Posted late = ep.put_inline(uint64_t{999}, f.remote(100), kLoud, f.soon());
  CHECK(late.status.code == StatusCode::deadline);
  CHECK(ep.queue().credit() == 0);  // more is reserved than fits
  CHECK(late.status.peer == QueueFixture::kFarRank);
  CHECK(late.status.qpn == f.view.qpn);
  CHECK(f.probe.last_site == "send queue credit");
  CHECK(f.ring_bytes() == full);

  // A poster that gave up leaves a hole, so nobody may follow it.
  CHECK(ep.put_inline(uint64_t{999}, f.remote(100), kLoud, f.never()).status.code ==
        StatusCode::deadline);
  CHECK(f.ring_bytes() == full);

  f.fabric.run_until_idle();
  for (uint64_t i = 0; i < 8; ++i) CHECK(f.far.words[i] == 100 + i);
  CHECK(f.far.words[100] == 0);
  CHECK(f.violations() == "");
}

TEMPLATE_TEST_CASE("credit comes back exactly as far as the NIC has completed", "[credit]",
                   Exclusive, SharedByGpu) {
  QueueFixture f(any_queue(8));
  f.pause();
  auto ep = f.endpoint<TestType>();
  for (uint64_t i = 0; i < 8; ++i) ep.put_inline(i + 1, f.remote(i), kLoud, f.soon());

  f.step(3);
  CHECK(ep.queue().try_reserve(4).status.code == StatusCode::no_credit);
  CHECK(ep.queue().credit() == 3);
  const Reserved reserved = ep.queue().try_reserve(3);
  REQUIRE(reserved.status.ok());
  CHECK(reserved.range.base == f.near.qp->device_view().state->cons_idx + 5);
  CHECK(ep.queue().try_reserve(1).status.code == StatusCode::no_credit);
  CHECK(ep.queue().credit() == 0);
}

TEMPLATE_TEST_CASE("a reservation of nothing or of more than half a ring is invalid", "[credit]",
                   Exclusive, SharedByGpu) {
  QueueFixture f(ring_of(8));
  auto queue = f.queue<TestType>();
  CHECK(queue.max_reservation() == 4);
  CHECK(queue.reserve(0, f.never()).status.code == StatusCode::invalid);
  CHECK(queue.reserve(5, f.never()).status.code == StatusCode::invalid);
  CHECK(queue.try_reserve(0).status.code == StatusCode::invalid);
  CHECK(queue.try_reserve(5).status.code == StatusCode::invalid);
  CHECK(queue.resv_head() == 0);
}

// The deadlock twin of R3: waiting for credit that only an un-rung or unsignaled WQE could bring.
TEMPLATE_TEST_CASE("four rings of unsignaled and un-rung posts complete", "[credit]", Exclusive,
                   SharedByCta, SharedByGpu) {
  const uint32_t ring = GENERATE(1u, 2u, 8u);
  QueueFixture f(any_queue(ring));
  f.probe.on_doorbell = [&] { f.fabric.step(1); };
  auto ep = f.endpoint<TestType>();
  const uint64_t posts = 4 * uint64_t{ring};
  const uint64_t start = f.view.state->resv_head;
  for (uint64_t i = 0; i < posts; ++i) {
    REQUIRE(ep.put_inline(100 + i, f.remote(i), kSilent, f.soon()).status.ok());
  }
  f.fabric.run_until_idle();

  // One forced ring and one forced signal for each half ring that was filled, and none besides.
  const uint64_t half = ring < 2 ? 1 : ring / 2;
  const uint64_t halves = (start + posts) / half - start / half;
  CHECK(f.probe.doorbells == halves);
  CHECK(f.counters().cqes == halves);
  const uint64_t rung = (start + posts) / half * half - start;
  for (uint64_t i = 0; i < posts; ++i) CHECK(f.far.words[i] == (i < rung ? 100 + i : 0));

  REQUIRE(ep.flush(f.soon()).ok());
  for (uint64_t i = 0; i < posts; ++i) CHECK(f.far.words[i] == 100 + i);
  CHECK(f.violations() == "");
}

// Bug class: a burst larger than the ring overwrites itself.
TEMPLATE_TEST_CASE("a burst of three rings and one arrives whole", "[credit]", Exclusive,
                   SharedByCta, SharedByGpu) {
  QueueFixture f(any_queue(8));
  auto ep = f.endpoint<TestType>();
  const uint64_t start = f.view.state->resv_head;
  const Posted posted = ep.post_batch(25, kLoud, f.soon(), [&](uint64_t i, const Wire::Head& head) {
    return Wire::make_write_value(head, 100 + i, f.remote(i));
  });
  REQUIRE(posted.status.ok());
  CHECK(posted.ticket.target == start + 25);
  CHECK(f.asks_for_cqe(start + 24));
  REQUIRE(ep.wait(posted.ticket, f.soon()).ok());
  for (uint64_t i = 0; i < 25; ++i) CHECK(f.far.words[i] == 100 + i);
  CHECK(f.far.words[25] == 0);
  CHECK(f.violations() == "");
}

TEMPLATE_TEST_CASE("a batch of nothing is invalid and posts nothing", "[credit]", Exclusive,
                   SharedByGpu) {
  QueueFixture f(ring_of(8));
  auto ep = f.endpoint<TestType>();
  const Posted posted = ep.post_batch(
      0, kLoud, f.soon(), [](uint64_t, const Wire::Head& head) { return Wire::make_nop(head); });
  CHECK(posted.status.code == StatusCode::invalid);
  CHECK(f.heads().resv_head == 0);
}

// Bug class R2: a full ring of the deepest kind is 32768 apart, the edge of signed 16 bits.
TEST_CASE("the deepest ring may be announced whole with one doorbell", "[credit]") {
  const auto mode = GENERATE(CqMode::collapsed, CqMode::owner_bit);
  const auto start = GENERATE(as<uint64_t>{}, 0, kBelow16);
  QueueSetup setup = ring_of(32768, mode, start);
  QueueFixture f(setup);
  f.pause();
  auto ep = f.endpoint<SharedByGpu>();
  for (uint64_t i = 0; i < 32768; ++i) {
    REQUIRE(ep.put_inline(i + 1, f.remote(i % 512), kSilent, f.soon()).status.ok());
  }
  REQUIRE(ep.queue().ring(f.soon()).ok());
  REQUIRE(ep.queue().try_reserve(1).status.code == StatusCode::no_credit);
  f.fabric.run_until_idle();
  CHECK(f.violations() == "");
  CHECK(f.far.words[511] == 32768);
  REQUIRE(ep.queue().completions().poll().ok());
  CHECK(ep.queue().completions().cons_idx() + 16384 > start + 32768);
}

}  // namespace
}  // namespace ringer::test
