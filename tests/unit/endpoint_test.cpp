// SPDX-License-Identifier: Apache-2.0
// The device API, operation by operation.
#include <cstring>

#include <ringer/endpoint.hpp>

#include "support/catch.hpp"
#include "support/queue_fixture.hpp"

namespace ringer::test {
namespace {

using SharedEndpoint = Endpoint<ProbePlatform, SharedByGpu>;

void finish(QueueFixture& f, SharedEndpoint& ep, const Posted& posted) {
  REQUIRE(posted.status.ok());
  REQUIRE(ep.wait(posted.ticket, f.soon()).ok());
  REQUIRE(f.violations() == "");
}

TEST_CASE("put copies exactly its bytes", "[endpoint]") {
  const uint64_t bytes = GENERATE(as<uint64_t>{}, 1, 3, 4, 8, 63, 64, 65, 4000);
  QueueFixture f;
  for (size_t i = 0; i < f.near.words.size(); ++i) f.near.words[i] = 0x0101010101010101u * (i + 1);
  auto ep = f.endpoint<SharedByGpu>();
  finish(f, ep, ep.put(f.local(), f.remote(), bytes, kLoud, f.soon()));
  const auto* far = reinterpret_cast<const uint8_t*>(f.far.words.data());
  CHECK(std::memcmp(far, f.near.words.data(), bytes) == 0);
  CHECK(far[bytes] == 0);
}

// Bug class: a zero-length put with a data segment, whose byte count 0 a NIC reads as 2 GiB.
TEMPLATE_TEST_CASE("a zero-length put completes, moves nothing and has no data segment",
                   "[endpoint]", Exclusive, SharedByGpu) {
  QueueFixture f;
  f.near.words[0] = 5;
  auto ep = f.endpoint<TestType>();
  const Posted posted = ep.put({0, 0}, f.remote(), 0, kLoud, f.soon());
  REQUIRE(posted.status.ok());
  CHECK((f.segment<mlx5::CtrlSeg>(0, 0).qpn_ds.value() & 0x3f) == 2);
  REQUIRE(ep.wait(posted.ticket, f.soon()).ok());
  CHECK(f.far.words[0] == 0);
  CHECK(f.counters().bytes_moved == 0);
  CHECK(f.violations() == "");
}

// Bug class: sizes cast to 32 bits; bit 31 of a byte count means inline data.
TEST_CASE("large transfers are split so that no byte count has bit 31 set", "[endpoint]") {
  constexpr uint64_t kGiB = uint64_t{1} << 30;
  const uint64_t bytes =
      GENERATE_COPY(as<uint64_t>{}, kGiB, kGiB + 1, 2 * kGiB - 1, 2 * kGiB, 4 * kGiB + 5);
  const bool read = GENERATE(false, true);
  const auto start = GENERATE(as<uint64_t>{}, 0, 65536 - 3);
  QueueFixture f(ring_of(16, CqMode::collapsed, start));
  f.pause();
  auto ep = f.endpoint<SharedByGpu>();
  const Posted posted = read ? ep.get(f.local(), f.remote(), bytes, kLoud, f.soon())
                             : ep.put(f.local(), f.remote(), bytes, kLoud, f.soon());
  REQUIRE(posted.status.ok());
  uint64_t covered = 0;
  for (uint64_t i = start; i < posted.ticket.target; ++i) {
    const auto ctrl = f.segment<mlx5::CtrlSeg>(i, 0);
    const auto data = f.segment<mlx5::DataSeg>(i, 2);
    const auto raddr = f.segment<mlx5::RaddrSeg>(i, 1);
    CHECK((ctrl.opmod_idx_opcode.value() & 0xff) == (read ? 0x10u : 0x08u));
    CHECK(data.byte_count.value() <= kGiB);
    CHECK(data.byte_count.value() > 0);
    CHECK(data.addr.value() == f.local().address + covered);
    CHECK(raddr.raddr.value() == f.remote().address + covered);
    CHECK(f.asks_for_cqe(i) == ep.queue().must_signal(i, i + 1 == posted.ticket.target));
    covered += data.byte_count.value();
  }
  CHECK(covered == bytes);
}

TEST_CASE("one completion cannot stand for several: larger sends are invalid", "[endpoint]") {
  QueueFixture f;
  auto ep = f.endpoint<SharedByGpu>();
  const uint64_t bytes = Wire::kMaxMessageBytes + 1;
  CHECK(ep.send(f.local(), bytes, kLoud, f.soon()).status.code == StatusCode::invalid);
  CHECK(ep.put_with_imm(f.local(), f.remote(), bytes, 1, kLoud, f.soon()).status.code ==
        StatusCode::invalid);
  CHECK(f.heads().resv_head == 0);
  f.pause();
  CHECK(ep.send(f.local(), bytes - 1, kLoud, f.soon()).status.ok());
  CHECK(ep.put_with_imm(f.local(), f.remote(), bytes - 1, 1, kLoud, f.soon()).status.ok());
}

TEST_CASE("inline bytes: 1 to 28 go, 0 and 29 are invalid", "[endpoint]") {
  QueueFixture f(ring_of(64));
  auto ep = f.endpoint<SharedByGpu>();
  char data[32];
  std::memset(data, 'x', sizeof(data));
  for (uint32_t bytes = 1; bytes <= 28; ++bytes) {
    finish(f, ep, ep.put_inline_bytes(data, bytes, f.remote(bytes * 8), kLoud, f.soon()));
    const auto* far = reinterpret_cast<const char*>(&f.far.words[bytes * 8]);
    CHECK(std::memcmp(far, data, bytes) == 0);
    CHECK(far[bytes] == 0);
  }
  const uint64_t head = f.heads().resv_head;
  CHECK(ep.put_inline_bytes(data, 0, f.remote(), kLoud, f.soon()).status.code ==
        StatusCode::invalid);
  CHECK(ep.put_inline_bytes(data, 29, f.remote(), kLoud, f.soon()).status.code ==
        StatusCode::invalid);
  CHECK(f.heads().resv_head == head);
}

TEST_CASE("get, fetch_add and compare_swap return what was there", "[endpoint]") {
  QueueFixture f;
  auto ep = f.endpoint<SharedByGpu>();
  f.far.words[4] = 1000;
  finish(f, ep, ep.get(f.local(0), f.remote(4), 8, kLoud, f.soon()));
  CHECK(f.near.words[0] == 1000);
  finish(f, ep, ep.fetch_add(uint64_t{7}, f.local(1), f.remote(4), kLoud, f.soon()));
  CHECK((f.near.words[1] == 1000 && f.far.words[4] == 1007));
  finish(f, ep,
         ep.compare_swap(uint64_t{1007}, uint64_t{5}, f.local(1), f.remote(4), kLoud, f.soon()));
  CHECK((f.near.words[1] == 1007 && f.far.words[4] == 5));
  finish(f, ep,
         ep.compare_swap(uint64_t{1007}, uint64_t{6}, f.local(1), f.remote(4), kLoud, f.soon()));
  CHECK((f.near.words[1] == 5 && f.far.words[4] == 5));

  f.far.words[5] = 0xaaaaaaaaffffffffu;  // the neighbour must not get the carry
  f.near.words[2] = 0;
  finish(f, ep, ep.fetch_add(2u, f.local(2), f.remote(5), kLoud, f.soon()));
  CHECK((f.near.words[2] == 0xffffffffu && f.far.words[5] == 0xaaaaaaaa00000001u));
  finish(f, ep, ep.compare_swap(1u, 9u, f.local(2), f.remote(5), kLoud, f.soon()));
  CHECK((f.near.words[2] == 1 && f.far.words[5] == 0xaaaaaaaa00000009u));
}

TEST_CASE("send and put_with_imm meet the peer's receives in order", "[endpoint]") {
  QueueSetup setup;
  setup.far.rq_wqes = 4;
  QueueFixture f(setup);
  auto ep = f.endpoint<SharedByGpu>();
  f.near.words[0] = 77;
  for (size_t i = 0; i < 2; ++i) {
    f.far.qp->post_receive({reinterpret_cast<uint64_t>(&f.far.words[10 + i]), f.far.region->lkey()},
                           8);
  }
  finish(f, ep, ep.send(f.local(), 8, kLoud, f.soon()));
  finish(f, ep, ep.put_with_imm(f.local(), f.remote(20), 8, 0x01020304, kLoud, f.soon()));
  ReceiveCompletion completion{};
  REQUIRE(f.far.qp->poll_receive(completion));
  CHECK((completion.status.ok() && completion.index == 0 && completion.bytes == 8));
  CHECK(f.far.words[10] == 77);
  REQUIRE(f.far.qp->poll_receive(completion));
  CHECK((completion.index == 1 && completion.bytes == 8 && completion.imm == 0x01020304));
  CHECK((f.far.words[11] == 0 && f.far.words[20] == 77));
  CHECK_FALSE(f.far.qp->poll_receive(completion));
}

// Bug class: an unsignaled and un-rung tail is stranded until somebody else rings.
TEMPLATE_TEST_CASE("flush rings a stranded tail and waits for all of it", "[endpoint]", Exclusive,
                   SharedByCta, SharedByGpu) {
  const auto mode = GENERATE(CqMode::collapsed, CqMode::owner_bit);
  const auto start = GENERATE(as<uint64_t>{}, 4, 65536 - 12, (uint64_t{1} << 32) - 12);
  QueueFixture f(ring_of(16, mode, start));
  auto ep = f.endpoint<TestType>();
  for (uint64_t i = 0; i < 3; ++i) ep.put_inline(i + 1, f.remote(i), kSilent, f.soon());
  f.fabric.run_until_idle();
  CHECK(f.counters().wqes == 0);
  REQUIRE(ep.flush(f.soon()).ok());
  for (uint64_t i = 0; i < 3; ++i) CHECK(f.far.words[i] == i + 1);
  CHECK(f.heads().cons_idx == f.heads().resv_head);

  const uint64_t head = f.heads().resv_head;
  REQUIRE(ep.flush(f.soon()).ok());  // nothing outstanding: nothing posted
  CHECK(f.heads().resv_head == head);
}

// Bug class R7: quiet returns before the own WQEs are complete.
TEST_CASE("wait and flush do not return before the NIC has executed", "[endpoint]") {
  QueueFixture f(ring_of(16, GENERATE(CqMode::collapsed, CqMode::owner_bit)));
  f.pause();
  auto ep = f.endpoint<SharedByGpu>();
  Posted posted;
  for (uint64_t i = 0; i < 5; ++i) {
    posted = ep.put_inline(i + 1, f.remote(i), kLoud, f.soon());
    REQUIRE(posted.status.ok());
  }
  f.step(4);
  CHECK(ep.wait({posted.ticket.target - 1}, f.soon()).ok());
  CHECK(ep.wait(posted.ticket, f.soon()).code == StatusCode::deadline);
  CHECK(ep.flush(f.soon()).code == StatusCode::deadline);
  f.resume();
  CHECK(ep.flush(f.soon()).ok());
}

TEST_CASE("a signal counts 1, 2, 3 behind the data that it announces", "[endpoint]") {
  const auto start = GENERATE(as<uint64_t>{}, 0, 65536 - 3, (uint64_t{1} << 32) - 3);
  QueueFixture f(ring_of(8, CqMode::collapsed, start));
  auto ep = f.endpoint<SharedByGpu>();
  uint64_t sequence = 0;
  for (uint64_t i = 1; i <= 20; ++i) {
    f.near.words[0] = i * 10;
    REQUIRE(ep.put(f.local(), f.remote(0), 8, kSilent, f.soon()).status.ok());
    REQUIRE(ep.signal({f.remote(1), &sequence}, kLoud, f.soon()).status.ok());
    REQUIRE(wait_signal(f.platform, &f.far.words[1], i, f.soon()).ok());
    CHECK(f.far.words[1] == i);
    CHECK(f.far.words[0] == i * 10);
  }
}

// Bug class: a plain < on a counter that wraps.
TEST_CASE("a wait for a signal survives the wrap of 2^64", "[endpoint]") {
  QueueFixture f;
  uint64_t flag = ~uint64_t{0} - 1;
  uint32_t polls = 0;
  f.probe.on_idle = [&] { ++flag, ++polls; };
  CHECK(wait_signal(f.platform, &flag, 2, f.never()).ok());
  CHECK(polls == 4);
  CHECK(wait_signal(f.platform, &flag, ~uint64_t{0}, f.never()).ok());
  CHECK(polls == 4);  // long reached
}

TEST_CASE("a wait for a signal ends at its deadline or at the stop word", "[endpoint]") {
  QueueFixture f;
  const uint64_t flag = 0;
  CHECK(wait_signal(f.platform, &flag, 1, f.soon()).code == StatusCode::deadline);
  uint32_t stop = 0;
  f.probe.on_idle = [&] { stop = 1; };
  CHECK(wait_signal(f.platform, &flag, 1, {~uint64_t{0}, &stop}).code == StatusCode::aborted);
}

}  // namespace
}  // namespace ringer::test
