// SPDX-License-Identifier: Apache-2.0
// SEND and WRITE with immediate against a receive ring, ready and not.
#include "support/catch.hpp"
#include "support/queue_fixture.hpp"
#include "support/raw_poster.hpp"

namespace ringer::test {
namespace {

struct ReceivePair : QueueFixture, RawPoster {
  explicit ReceivePair(uint32_t rnr_retries = 7, uint32_t far_rq_wqes = 4)
      : QueueFixture(setup(rnr_retries, far_rq_wqes)), RawPoster(QueueFixture::view) {
    pause();
  }
  void post_receive(size_t word, uint32_t bytes = 8) {
    far.qp->post_receive({reinterpret_cast<uint64_t>(&far.words[word]), far.region->lkey()}, bytes);
  }
  void send(size_t word, uint32_t bytes = 8) {
    put(Wire::make_send(head(), local(word), bytes));
    ring();
  }

 private:
  static QueueSetup setup(uint32_t rnr_retries, uint32_t far_rq_wqes) {
    QueueSetup s = ring_of(8, CqMode::owner_bit);
    s.near.rnr_retries = rnr_retries;
    s.far.rq_wqes = far_rq_wqes;
    return s;
  }
};

TEST_CASE("sends land in the receive buffers in posting order over many laps", "[nic][receive]") {
  ReceivePair f;
  ReceiveCompletion completion{};
  for (uint64_t i = 0; i < 50; ++i) {
    f.near.words[0] = 1000 + i;
    f.post_receive(10 + i % 7);
    f.send(0);
    f.fabric.run_until_idle();
    REQUIRE(f.poll().has_value());
    REQUIRE(f.far.qp->poll_receive(completion));
    CHECK(completion.status.ok());
    CHECK(completion.index == i);
    CHECK(completion.bytes == 8);
    CHECK(f.far.words[10 + i % 7] == 1000 + i);
  }
  CHECK(f.violations() == "");
}

TEST_CASE("a WRITE with immediate takes a receive WQE and leaves its buffer alone",
          "[nic][receive]") {
  ReceivePair f;
  f.near.words[0] = 5;
  f.post_receive(10);
  f.put(Wire::make_write_imm(f.head(), f.local(0), f.remote(20), 8, 0xcafef00du));
  f.ring();
  f.fabric.run_until_idle();
  ReceiveCompletion completion{};
  REQUIRE(f.far.qp->poll_receive(completion));
  CHECK(completion.imm == 0xcafef00du);
  CHECK(completion.bytes == 8);
  CHECK((f.far.words[20] == 5 && f.far.words[10] == 0));
}

TEST_CASE("a WRITE with immediate waits as a whole: no data without a receive WQE",
          "[nic][receive]") {
  ReceivePair f;
  f.near.words[0] = 5;
  f.put(Wire::make_write_imm(f.head(), f.local(0), f.remote(20), 8, 1));
  f.ring();
  f.fabric.run_until_idle();
  CHECK(f.far.words[20] == 0);
  f.post_receive(10);
  f.fabric.run_until_idle();
  CHECK(f.far.words[20] == 5);
}

TEST_CASE("with endless retries a send resumes when a receive is posted", "[nic][receive]") {
  ReceivePair f(7);
  f.near.words[0] = 3;
  f.send(0);
  f.put(Wire::make_write_value(f.head(), uint64_t{9}, f.remote(30)));
  f.ring();
  for (int i = 0; i < 100; ++i) f.fabric.step(4);
  CHECK_FALSE(f.poll().has_value());
  CHECK(f.far.words[30] == 0);  // nothing overtakes
  f.post_receive(12);
  f.fabric.run_until_idle();
  CHECK((f.poll().has_value() && f.poll().has_value()));
  CHECK((f.far.words[12] == 3 && f.far.words[30] == 9));
}

TEST_CASE("finite retries run out, by themselves, with RNR retry exceeded", "[nic][receive]") {
  const uint32_t retries = GENERATE(0u, 1u, 6u);
  ReceivePair f(retries);
  f.send(0);
  f.fabric.run_until_idle();
  const auto cqe = f.poll();
  REQUIRE(cqe.has_value());
  CHECK(cqe->opcode == mlx5::CqeOpcode::requester_error);
  CHECK(cqe->syndrome == 0x16);
}

TEST_CASE("each message has its own retries", "[nic][receive]") {
  ReceivePair f(3);
  for (size_t i = 0; i < 5; ++i) {
    f.send(0);
    for (int visit = 0; visit < 3; ++visit) f.fabric.step(1);
    REQUIRE_FALSE(f.poll().has_value());
    f.post_receive(10 + i);
    f.fabric.run_until_idle();
    const auto cqe = f.poll();
    REQUIRE(cqe.has_value());
    REQUIRE(cqe->opcode == mlx5::CqeOpcode::requester);
    ReceiveCompletion completion{};
    REQUIRE(f.far.qp->poll_receive(completion));
  }
}

TEST_CASE("a send without a receive ring at the peer is not ready for ever", "[nic][receive]") {
  ReceivePair f(2, 0);
  f.send(0);
  f.fabric.run_until_idle();
  const auto cqe = f.poll();
  REQUIRE(cqe.has_value());
  CHECK(cqe->syndrome == 0x16);
}

TEST_CASE("a send longer than the receive buffer fails at both ends", "[nic][receive]") {
  ReceivePair f;
  f.post_receive(10, 8);
  f.post_receive(11, 8);
  f.send(0, 16);
  f.fabric.run_until_idle();
  const auto cqe = f.poll();
  REQUIRE(cqe.has_value());
  CHECK(cqe->syndrome == 0x12);
  ReceiveCompletion completion{};
  REQUIRE(f.far.qp->poll_receive(completion));
  CHECK(completion.status.code == StatusCode::qp_error);
  CHECK(completion.status.syndrome == 0x01);
  CHECK(completion.status.peer == QueueFixture::kNearRank);
  REQUIRE(f.far.qp->poll_receive(completion));  // the rest of the receive ring is flushed
  CHECK(completion.status.syndrome == 0x05);
  CHECK(completion.index == 1);
  CHECK_FALSE(f.far.qp->poll_receive(completion));
  CHECK((f.far.words[10] == 0 && f.far.words[11] == 0));
}

TEST_CASE("a receive buffer with a bad key is the receiver's fault", "[nic][receive]") {
  ReceivePair f;
  f.far.qp->post_receive({reinterpret_cast<uint64_t>(&f.far.words[10]), 0xdead00}, 8);
  f.send(0);
  f.fabric.run_until_idle();
  const auto cqe = f.poll();
  REQUIRE(cqe.has_value());
  CHECK(cqe->syndrome == 0x14);
  ReceiveCompletion completion{};
  REQUIRE(f.far.qp->poll_receive(completion));
  CHECK(completion.status.syndrome == 0x04);
}

TEST_CASE("a receive posted after the error is flushed, not forgotten", "[nic][receive]") {
  ReceivePair f;
  f.post_receive(10, 8);
  f.send(0, 16);
  f.fabric.run_until_idle();
  ReceiveCompletion completion{};
  REQUIRE(f.far.qp->poll_receive(completion));
  CHECK_FALSE(f.far.qp->poll_receive(completion));
  f.post_receive(11);
  f.fabric.run_until_idle();
  REQUIRE(f.far.qp->poll_receive(completion));
  CHECK(completion.status.syndrome == 0x05);
  CHECK(completion.index == 1);
}

TEST_CASE("a full receive ring refuses one more buffer", "[nic][receive]") {
  ReceivePair f;
  for (size_t i = 0; i < 4; ++i) f.post_receive(10 + i);
  CHECK_THROWS_AS(f.post_receive(14), BackendError);
}

}  // namespace
}  // namespace ringer::test
