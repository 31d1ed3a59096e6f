// SPDX-License-Identifier: Apache-2.0
// Bounds that hold on every path: stop words, message sizes, what a completed ticket means.
#include "support/catch.hpp"
#include "support/channel_fixture.hpp"
#include "support/queue_fixture.hpp"

namespace ringer::test {
namespace {

TEST_CASE("the caller's stop word ends every wait on a queue", "[limits]") {
  QueueFixture f(ring_of(4));
  f.pause();
  uint32_t stop = 0;
  const auto stoppable = [&] {
    WaitLimit limit;  // without deadline: only the stop word can end the wait
    limit.stop = &stop;
    return limit;
  };
  f.probe.on_idle = [&] { stop = 1; };
  auto ep = f.endpoint<SharedByGpu>();
  SECTION("a completion") {
    const Posted posted = ep.put(f.local(), f.remote(), 8, kLoud, stoppable());
    CHECK(ep.wait(posted.ticket, stoppable()).code == StatusCode::aborted);
  }
  SECTION("a flush") {
    ep.put(f.local(), f.remote(), 8, kSilent, stoppable());
    CHECK(ep.flush(stoppable()).code == StatusCode::aborted);
  }
  SECTION("credit") {
    for (int i = 0; i < 4; ++i) ep.put(f.local(), f.remote(), 8, kLoud, stoppable());
    CHECK(ep.put(f.local(), f.remote(), 8, kLoud, stoppable()).status.code == StatusCode::aborted);
  }
  SECTION("the publish turn") {
    REQUIRE(ep.queue().reserve(1, stoppable()).status.ok());  // never published
    CHECK(ep.put(f.local(), f.remote(), 8, kLoud, stoppable()).status.code == StatusCode::aborted);
  }
}

TEST_CASE("the caller's stop word ends every wait on a command ring", "[limits]") {
  ChannelFixture f;
  uint32_t stop = 0;
  WaitLimit limit;
  limit.stop = &stop;
  f.probe.on_idle = [&] { stop = 1; };
  auto fifo = f.fifo();
  SECTION("a flush") {
    fifo.push(FifoOp::put_value, 0, 1, 0, 1, 8, limit);
    CHECK(fifo.flush(limit).code == StatusCode::aborted);
  }
  SECTION("credit") {
    for (int i = 0; i < 8; ++i) REQUIRE(fifo.push(FifoOp::put_value, 0, 1, 0, 1, 8, limit).ok());
    CHECK(fifo.push(FifoOp::put_value, 0, 1, 0, 1, 8, limit).code == StatusCode::aborted);
  }
}

// Bug class: bit 31 of a byte count means inline data, on the host's posting path as on the GPU's.
TEST_CASE("a large put over the command ring is split below the largest message", "[limits]") {
  constexpr uint64_t kGiB = uint64_t{1} << 30;
  const uint64_t bytes = GENERATE_COPY(as<uint64_t>{}, 0, kGiB, 2 * kGiB + 8, 4 * kGiB + 5);
  ChannelFixture f;
  f.pause();
  REQUIRE(f.channel().put(0, 1, 16, 24, bytes, kLoud, f.soon()).ok());
  uint64_t covered = 0;
  const uint64_t commands = f.rings[0]->state().head;
  REQUIRE(commands == (bytes == 0 ? 1 : (bytes + kGiB - 1) / kGiB));
  for (uint64_t i = 0; i < commands; ++i) {
    const FifoCommand& command = f.fifos[0].commands[i];
    CHECK(command.bytes <= kGiB);
    CHECK(command.remote_offset == 16 + covered);
    CHECK(command.payload == 24 + covered);
    covered += command.bytes;
  }
  CHECK(covered == bytes);
}

TEST_CASE("the host's posting path refuses what no WQE can carry", "[limits]") {
  QueueFixture f;
  WorkRequest request{};
  request.kind = WorkRequest::Kind::put;
  request.bytes = (1u << 30) + 1;
  request.local = f.local();
  request.remote = f.remote();
  const PostOutcome outcome = f.near.qp->post(std::span(&request, 1));
  CHECK(outcome.status.code == StatusCode::invalid);
  CHECK(outcome.posted == 0);
  CHECK(f.heads().resv_head == 0);
}

TEST_CASE("a ticket that completed before the error is a success", "[limits]") {
  QueueFixture f(ring_of(8, CqMode::owner_bit));
  f.pause();
  auto ep = f.endpoint<SharedByGpu>();
  const Posted good = ep.put(f.local(), f.remote(), 8, kLoud, f.soon());
  RemoteRef wrong = f.remote();
  wrong.rkey += 1;
  const Posted bad = ep.put(f.local(), wrong, 8, kLoud, f.soon());
  f.fabric.run_until_idle();
  CHECK(ep.wait(good.ticket, f.soon()).ok());
  CHECK(ep.wait(bad.ticket, f.soon()).code == StatusCode::qp_error);
}

TEST_CASE("the queue pair knows its first error when the collapsed CQE shows only the flush",
          "[limits]") {
  QueueFixture f;
  f.pause();
  auto ep = f.endpoint<SharedByGpu>();
  CHECK(f.near.qp->first_error().ok());
  RemoteRef wrong = f.remote();
  wrong.rkey += 1;
  ep.put(f.local(), wrong, 8, kLoud, f.soon());
  const Posted flushed = ep.put(f.local(), f.remote(), 8, kLoud, f.soon());
  f.fabric.run_until_idle();
  CHECK(ep.wait(flushed.ticket, f.soon()).syndrome == 0x05);
  const Status first = f.near.qp->first_error();
  CHECK(first.syndrome == 0x13);
  CHECK(first.wqe_index == 0);
  CHECK(first.peer == QueueFixture::kFarRank);
}

// Bug class: "all idle" as the only moment at which a flush can end.
TEST_CASE("a flush ends although another peer's stream never does", "[limits]") {
  ChannelSetup setup;
  setup.fifo_depth = 64;
  ChannelFixture f(setup);
  uint64_t streamed = 0;
  f.probe.on_idle = [&] {
    // Two pushed for each that the NIC executes: peer 2's lane is never idle.
    if (f.rings[0]->state().head - f.rings[0]->state().tail < 32) {
      f.push_value(2, 1, ++streamed);
      f.push_value(2, 1, ++streamed);
    }
    f.step();
  };
  for (int i = 0; i < 8; ++i) REQUIRE(f.push_value(2, 1, ++streamed).ok());
  REQUIRE(f.push_value(1, 0, 42).ok());
  const WaitLimit limit = limit_after(f.platform, 1000 * f.probe.idle_ns);
  REQUIRE(f.fifo().flush(limit).ok());
  CHECK(f.windows[1][0] == 42);
  CHECK(f.rings[0]->state().done < f.rings[0]->state().head);  // the stream went on
}

TEST_CASE("an endpoint knows whether its queue pair was laid out by this version", "[limits]") {
  QueueFixture f;
  CHECK(f.endpoint<SharedByGpu>().compatible());
  f.view.layout_stamp ^= 1;
  CHECK_FALSE(f.endpoint<SharedByGpu>().compatible());
}

}  // namespace
}  // namespace ringer::test
