// SPDX-License-Identifier: Apache-2.0
// Completions: index recovery, the owner bit, and every way in which a wait must end.
#include <ringer/endpoint.hpp>

#include "support/catch.hpp"
#include "support/queue_fixture.hpp"

namespace ringer::test {
namespace {

CqMode any_mode() { return GENERATE(CqMode::collapsed, CqMode::owner_bit); }
uint64_t any_start() { return GENERATE(as<uint64_t>{}, 0, 65536 - 3, (uint64_t{1} << 32) - 3); }

void check_names_culprit(const QueueFixture& f, const Status& status, uint64_t index) {
  INFO(to_string(status));
  CHECK(status.code == StatusCode::qp_error);
  CHECK(status.syndrome == 0x13);
  CHECK(status.peer == QueueFixture::kFarRank);
  CHECK(status.qpn == f.view.qpn);
  CHECK(status.wqe_index == index);
}

// Bug class R2 and R5: completions consumed only when the completion queue is exactly full.
TEST_CASE("an owner-bit completion queue is read right at each exact wrap", "[completion]") {
  QueueFixture f(ring_of(8, CqMode::owner_bit, any_start()));
  f.pause();
  auto ep = f.endpoint<SharedByGpu>();
  const uint64_t start = f.heads().resv_head;
  for (uint64_t lap = 1; lap <= 5; ++lap) {
    for (uint64_t i = 0; i < 8; ++i) {
      REQUIRE(ep.put_inline(lap * 100 + i, f.remote(i), kLoud, f.soon()).status.ok());
    }
    f.fabric.run_until_idle();
    CHECK(ep.queue().completions().cons_idx() == start + (lap - 1) * 8);
    REQUIRE(ep.queue().completions().poll().ok());
    CHECK(ep.queue().completions().cons_idx() == start + lap * 8);
    CHECK(f.view.cq_dbr[0].value() == lap * 8);
    for (uint64_t i = 0; i < 8; ++i) CHECK(f.far.words[i] == lap * 100 + i);
  }
  CHECK(f.violations() == "");
}

// Bug class R4: poisoned or stale CQEs read as valid.
TEST_CASE("polling before, between and after completions invents none", "[completion]") {
  QueueFixture f(ring_of(8, any_mode(), any_start()));
  f.pause();
  auto ep = f.endpoint<SharedByGpu>();
  const uint64_t start = f.heads().resv_head;
  auto& completions = ep.queue().completions();
  for (uint64_t i = 0; i < 40; ++i) {
    REQUIRE(ep.put_inline(i, f.remote(), {i % 3 != 0, true}, f.soon()).status.ok());
    const uint64_t before = completions.cons_idx();
    REQUIRE(completions.poll().ok());
    CHECK(completions.cons_idx() == before);
    f.step(1);
    REQUIRE(completions.poll().ok());
    const bool signaled = ep.queue().must_signal(start + i, i % 3 != 0);
    CHECK(completions.cons_idx() == (signaled ? start + i + 1 : before));
  }
}

// Bug class R2: 32-bit counters widened, stale 16-bit CQE taken for a 64 K wrap (mori#626, #435).
TEMPLATE_TEST_CASE("196608 WQEs pass through a ring of 64 with exact data", "[completion]",
                   Exclusive, SharedByGpu) {
  constexpr uint64_t kWqes = 3 * 65536;
  const auto mode = any_mode();
  const auto start = GENERATE(as<uint64_t>{}, 0, (uint64_t{1} << 32) - 70000);
  QueueFixture f(ring_of(64, mode, start));
  f.probe.on_idle = [&] { f.fabric.step(16); };
  auto ep = f.endpoint<TestType>();
  for (uint64_t i = 0; i < kWqes; ++i) {
    const PostFlags flags{i % 7 == 0, i % 5 == 0};
    const Posted posted = i % 2 == 0
                              ? ep.put_inline(i, f.remote(i % 512), flags, f.soon())
                              : ep.fetch_add(i, f.local(1), f.remote(i % 512), flags, f.soon());
    if (!posted.status.ok()) FAIL(to_string(posted.status) << " at WQE " << i);
  }
  REQUIRE(ep.flush(f.soon()).ok());
  // Even words were last written, odd words collected every i with that remainder.
  for (uint64_t w = 0; w < 512; ++w) {
    const uint64_t laps = kWqes / 512;
    const uint64_t sum = laps * w + 512 * (laps * (laps - 1) / 2);
    REQUIRE(f.far.words[w] == (w % 2 == 0 ? kWqes - 512 + w : sum));
  }
  CHECK(f.heads().cons_idx == f.heads().resv_head);
  CHECK(f.violations() == "");
}

// Bug class R1: an error CQE taken for "not yet" (nccl#2383, DeepEP#558).
TEMPLATE_TEST_CASE("an error CQE names its WQE, ends every wait and stops every post",
                   "[completion]", Exclusive, SharedByCta, SharedByGpu) {
  QueueFixture f(ring_of(8, any_mode(), any_start()));
  auto ep = f.endpoint<TestType>();
  const uint64_t start = f.heads().resv_head;
  for (uint64_t i = 0; i < 3; ++i) {
    REQUIRE(ep.put_inline(i, f.remote(), kLoud, f.soon()).status.ok());
  }
  const Posted bad = ep.put_inline(uint64_t{1}, {f.remote().address, 0xdead00}, kLoud, f.soon());
  REQUIRE(bad.status.ok());

  check_names_culprit(f, ep.wait(bad.ticket, f.never()), start + 3);
  check_names_culprit(f, ep.wait({start + 100}, f.never()), start + 3);
  check_names_culprit(f, ep.flush(f.never()), start + 3);
  check_names_culprit(f, ep.queue().completions().poll(), start + 3);
  check_names_culprit(f, ep.queue().completions().poll(), start + 3);

  const auto ring = f.ring_bytes();
  const uint64_t doorbells = f.probe.doorbells;
  uint64_t sequence = 0;
  check_names_culprit(f, ep.put(f.local(), f.remote(), 8, kLoud, f.never()).status, start + 3);
  check_names_culprit(f, ep.signal({f.remote(), &sequence}, kLoud, f.never()).status, start + 3);
  check_names_culprit(f, ep.queue().try_reserve(1).status, start + 3);
  check_names_culprit(f, ep.queue().reserve(1, f.never()).status, start + 3);
  CHECK(f.ring_bytes() == ring);
  CHECK(f.probe.doorbells == doorbells);
  CHECK(sequence == 0);
}

TEST_CASE("an error ends the wait for credit", "[completion]") {
  QueueFixture f(ring_of(8, any_mode()));
  f.pause();
  auto ep = f.endpoint<SharedByGpu>();
  for (uint64_t i = 0; i < 8; ++i) {
    const uint32_t rkey = i == 7 ? 0xdead00 : f.remote().rkey;
    REQUIRE(ep.put_inline(i, {f.remote().address, rkey}, {i == 7, true}, f.soon()).status.ok());
  }
  f.resume();
  // Completions of index 3 (forced) may give credit first; the error must come through in the end.
  Status status;
  for (int i = 0; i < 16 && status.ok(); ++i) {
    status = ep.put_inline(1, f.remote(), kLoud, f.never()).status;
  }
  CHECK(status.code == StatusCode::qp_error);
}

TEST_CASE("the first error is kept when the rest is flushed", "[completion]") {
  QueueFixture f(ring_of(8, CqMode::owner_bit, any_start()));
  f.pause();
  auto ep = f.endpoint<SharedByGpu>();
  const uint64_t start = f.heads().resv_head;
  ep.put_inline(uint64_t{1}, {f.remote().address, 0xdead00}, kSilent, f.soon());
  for (int i = 0; i < 3; ++i) ep.put_inline(uint64_t{2}, f.remote(), kLoud, f.soon());
  f.fabric.run_until_idle();
  for (int i = 0; i < 6; ++i) check_names_culprit(f, ep.queue().completions().poll(), start);
  CHECK(f.far.words[0] == 0);
}

TEMPLATE_TEST_CASE("abort ends waits and stops posts", "[completion]", Exclusive, SharedByGpu) {
  QueueFixture f(ring_of(8, any_mode()));
  f.pause();
  auto ep = f.endpoint<TestType>();
  const Posted posted = ep.put_inline(1, f.remote(), kLoud, f.soon());
  f.probe.on_idle = [&] { f.near.qp->abort(); };

  const Status status = ep.wait(posted.ticket, f.never());
  CHECK(status.code == StatusCode::aborted);
  CHECK(status.peer == QueueFixture::kFarRank);
  CHECK(ep.put_inline(2, f.remote(), kLoud, f.never()).status.code == StatusCode::aborted);
  CHECK(ep.flush(f.never()).code == StatusCode::aborted);
  CHECK(ep.queue().completions().poll().code == StatusCode::aborted);
  CHECK(ep.queue().try_reserve(1).status.code == StatusCode::aborted);
  const WorkRequest request{WorkRequest::Kind::put_value, 8, {}, f.remote(), 5};
  const PostOutcome outcome = f.near.qp->post({&request, 1});
  CHECK(outcome.status.code == StatusCode::aborted);
  CHECK(outcome.posted == 0);
}

TEST_CASE("a wait whose time is up names what it waited for and harms nobody", "[completion]") {
  QueueFixture f(ring_of(8, any_mode(), any_start()));
  f.pause();
  auto ep = f.endpoint<SharedByGpu>();
  const Posted posted = ep.put_inline(uint64_t{1}, f.remote(), kLoud, f.soon());
  const Status status = ep.wait(posted.ticket, f.soon());
  CHECK(status.code == StatusCode::deadline);
  CHECK(status.wqe_index == posted.ticket.target - 1);
  CHECK(status.peer == QueueFixture::kFarRank);
  CHECK(status.qpn == f.view.qpn);
  f.resume();
  CHECK(ep.wait(posted.ticket, f.soon()).ok());
}

// The consumer lock of an owner-bit queue: a poller that finds it taken reads nothing.
TEST_CASE("a poller waits for another poller's progress, not for its lock alone", "[completion]") {
  QueueFixture f(ring_of(8, CqMode::owner_bit));
  f.pause();
  auto ep = f.endpoint<SharedByGpu>();
  const Posted posted = ep.put_inline(uint64_t{1}, f.remote(), kLoud, f.soon());
  f.fabric.run_until_idle();
  f.heads().cq_lock = 1;
  CHECK(ep.wait(posted.ticket, f.soon()).code == StatusCode::deadline);
  CHECK(f.heads().cons_idx == 0);
  CHECK(f.heads().cq_ci == 0);
  SECTION("the lock comes free") {
    f.probe.on_idle = [&] { f.heads().cq_lock = 0; };
    CHECK(ep.wait(posted.ticket, f.soon()).ok());
  }
  SECTION("the holder reports the completion before it lets go") {
    f.probe.on_idle = [&] { f.heads().cons_idx = posted.ticket.target; };
    CHECK(ep.wait(posted.ticket, f.soon()).ok());
  }
}

}  // namespace
}  // namespace ringer::test
