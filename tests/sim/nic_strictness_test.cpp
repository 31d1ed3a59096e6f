// SPDX-License-Identifier: Apache-2.0
// What only works by luck is a violation with queue pair, index and bytes.
#include <cstring>

#include "support/catch.hpp"
#include "support/queue_fixture.hpp"
#include "support/raw_poster.hpp"

namespace ringer::test {
namespace {

using sim::ViolationKind;

struct StrictPair : QueueFixture, RawPoster {
  explicit StrictPair(uint64_t start = 0)
      : QueueFixture(ring_of(8, CqMode::owner_bit, start)), RawPoster(QueueFixture::view) {
    pause();
  }
  void put_value(uint64_t value) { put(Wire::make_write_value(head(), value, remote(0))); }
  void run() { fabric.run_until_idle(); }

  /// The one violation that must have been seen.
  void check_violation(ViolationKind kind, uint64_t index) {
    INFO(violations());
    REQUIRE(fabric.violation_count() == 1);
    const sim::Violation v = fabric.violations().front();
    CHECK(to_string(v.kind) == std::string(to_string(kind)));
    CHECK(v.index == index);
    CHECK(v.qpn == view.qpn);
    CHECK(v.nic == 0);
    CHECK_FALSE(v.detail.empty());
    CHECK(to_string(v).find(to_string(kind)) != std::string::npos);
  }
  void check_syndrome(uint32_t syndrome) {
    const auto cqe = poll();
    REQUIRE(cqe.has_value());
    CHECK(cqe->syndrome == syndrome);
  }
};

constexpr uint32_t kQpOperation = 0x02;

TEST_CASE("a clean run over many laps has no violation", "[nic][strict]") {
  StrictPair f(GENERATE(as<uint64_t>{}, 0, 65536 - 3, (uint64_t{1} << 32) - 3));
  for (uint64_t i = 0; i < 100; ++i) {
    f.put_value(i);
    f.ring();
    f.run();
    CHECK(f.poll().has_value());
  }
  CHECK(f.fabric.violation_count() == 0);
  CHECK(f.far.words[0] == 99);
}

TEST_CASE("a control segment with another index is a violation", "[nic][strict]") {
  const uint64_t start = GENERATE(as<uint64_t>{}, 0, 65536 - 1);
  StrictPair f(start);
  f.put_value(1);
  const Wire::Head wrong{f.next() + 1, f.view.qpn, 0x08};
  f.put(Wire::make_write_value(wrong, uint64_t{2}, f.remote(0)));
  f.ring();
  f.run();
  f.check_violation(ViolationKind::wqe_index_mismatch, start + 1);
  f.check_syndrome(0);
  f.check_syndrome(kQpOperation);
  CHECK(f.far.words[0] == 1);
}

// Bug class R3 and R6: a slot announced before it is written holds the WQE of a lap ago.
TEST_CASE("a stale slot of the lap before is a violation", "[nic][strict]") {
  StrictPair f;
  for (uint64_t i = 0; i < 8; ++i) {
    f.put_value(100 + i);
    f.ring();
    f.run();
    f.check_syndrome(0);
  }
  f.write_record(9);
  f.write_doorbell(Wire::doorbell_value(9, f.view.qpn));
  f.run();
  f.check_violation(ViolationKind::wqe_index_mismatch, 8);
  f.check_syndrome(kQpOperation);
  CHECK(f.far.words[0] == 107);
}

// Bug class R4: memory that nobody has written executes as if it meant something.
TEST_CASE("a poisoned ring never executes", "[nic][strict]") {
  StrictPair f;
  for (const uint8_t byte : f.ring_bytes()) REQUIRE(byte == 0xa5);
  f.write_record(3);
  f.write_doorbell(Wire::doorbell_value(3, f.view.qpn));
  f.run();
  f.check_violation(ViolationKind::wqe_index_mismatch, 0);
  CHECK(f.fabric.violations().front().detail.find("a5a5a5a5") != std::string::npos);
  f.check_syndrome(kQpOperation);
  CHECK(f.counters().bytes_moved == 0);
  CHECK(f.counters().cqes == 0);
}

TEST_CASE("a doorbell ahead of its record is a violation", "[nic][strict]") {
  const uint64_t start = GENERATE(as<uint64_t>{}, 0, 65536 - 1);
  StrictPair f(start);
  f.write_record(start);
  f.put_value(1);
  f.write_doorbell(Wire::doorbell_value(f.next(), f.view.qpn));
  f.run();
  f.check_violation(ViolationKind::dbr_behind_doorbell, start);
  CHECK(f.violations().find("doorbell " + std::to_string((start + 1) & 0xffff)) !=
        std::string::npos);
}

TEST_CASE("a record ahead of its doorbell is fine: the NIC goes by the record", "[nic][strict]") {
  StrictPair f;
  f.put_value(1);
  f.put_value(2);
  f.write_record(2);
  f.write_doorbell(Wire::doorbell_value(1, f.view.qpn));
  f.run();
  CHECK(f.fabric.violation_count() == 0);
  CHECK(f.far.words[0] == 2);
}

TEST_CASE("a record without a doorbell moves nothing", "[nic][strict]") {
  StrictPair f;
  f.put_value(1);
  f.write_record(1);
  f.run();
  CHECK(f.counters().wqes == 0);
}

TEST_CASE("writing the receive element of a queue pair without receive ring is a violation",
          "[nic][strict]") {
  StrictPair f;
  f.view.dbr[0] = Be32::of(1);
  f.put_value(1);
  f.ring();
  f.run();
  f.check_violation(ViolationKind::dbr_receive_slot_written, 0);
}

TEST_CASE("announcing more than the ring holds is a violation", "[nic][strict]") {
  StrictPair f;
  for (uint64_t i = 0; i < 9; ++i) f.put_value(i + 1);
  f.ring();
  f.run();
  f.check_violation(ViolationKind::producer_beyond_ring, 0);
  f.check_syndrome(kQpOperation);
  CHECK(f.far.words[0] == 0);
}

TEST_CASE("announcing exactly what the ring holds is fine", "[nic][strict]") {
  StrictPair f(GENERATE(as<uint64_t>{}, 0, 5, 65536 - 3));
  for (uint64_t i = 0; i < 8; ++i) f.put_value(i + 1);
  f.ring();
  f.run();
  CHECK(f.fabric.violation_count() == 0);
  CHECK(f.far.words[0] == 8);
}

// Bug class R6: a WQE patched after the doorbell; the NIC may have it already.
TEST_CASE("changing a WQE after its doorbell is a violation and too late", "[nic][strict]") {
  StrictPair f;
  f.put_value(1);
  f.put_value(2);
  f.ring();
  f.fabric.step(1);
  f.slot(1)[36] = 77;
  f.fabric.step(1);
  f.check_violation(ViolationKind::wqe_changed, 1);
  CHECK(f.far.words[0] == 2);
}

TEST_CASE("overrunning the completion queue is a violation", "[nic][strict]") {
  StrictPair f;
  for (uint64_t i = 0; i < 9; ++i) {
    f.put_value(i + 1);
    f.ring();
    f.run();
    CHECK(f.fabric.violation_count() == (i == 8 ? 1 : 0));
  }
  f.check_violation(ViolationKind::cq_overrun, 8);
  for (uint16_t i = 0; i < 8; ++i) {  // what nobody had consumed is still there
    const auto cqe = f.poll();
    REQUIRE(cqe.has_value());
    CHECK(cqe->wqe_counter == i);
  }
}

TEST_CASE("a collapsed completion queue cannot be overrun", "[nic][strict]") {
  QueueFixture f(ring_of(8));
  f.pause();
  const DeviceQp view = f.view;
  RawPoster poster(view);
  for (uint64_t i = 0; i < 20; ++i) {
    poster.put(Wire::make_nop(poster.head()));
    poster.ring();
    f.fabric.run_until_idle();
  }
  CHECK(f.fabric.violation_count() == 0);
  CHECK(f.counters().cqes == 20);
}

TEST_CASE("a doorbell that names another queue pair is a violation and rings nothing",
          "[nic][strict]") {
  StrictPair f;
  f.put_value(1);
  f.write_record(1);
  f.write_doorbell(Wire::doorbell_value(1, f.view.qpn + 1));
  f.run();
  f.check_violation(ViolationKind::doorbell_malformed, 0);
  CHECK(f.counters().wqes == 0);
  f.ring();
  f.run();
  CHECK(f.far.words[0] == 1);
}

TEST_CASE("malformed WQEs are violations with their bytes", "[nic][strict]") {
  StrictPair f;
  Wire::Wqe wqe = Wire::make_write(f.head(), f.local(), f.remote(), 8);
  const auto rewrite = [&](const Wire::Head& head, mlx5::Opcode opcode, uint32_t segments,
                           uint8_t opmod = 0) {
    mlx5::put_ctrl(wqe, head, opcode, segments, opmod);
    wqe.segments = 4;
  };
  const Wire::Head other{0, f.view.qpn + 1, 0x08};
  SECTION("another queue pair's number") { rewrite(other, mlx5::Opcode::rdma_write, 3); }
  SECTION("no segments") { rewrite(f.head(), mlx5::Opcode::rdma_write, 0); }
  SECTION("an opcode that nobody knows") { rewrite(f.head(), mlx5::Opcode{0x3f}, 3); }
  SECTION("more blocks than announced") { rewrite(f.head(), mlx5::Opcode::rdma_write, 5); }
  SECTION("no remote address") { rewrite(f.head(), mlx5::Opcode::rdma_write, 1); }
  SECTION("an atomic with a segment too many") { rewrite(f.head(), mlx5::Opcode::atomic_fa, 5); }
  SECTION("an extended atomic of no size") {
    rewrite(f.head(), mlx5::Opcode::atomic_masked_fa, 4, 0);
  }
  SECTION("inline data beyond the WQE") {
    wqe.put(2, mlx5::DataSeg{Be32::of(13 | mlx5::kInlineFlag), {}, {}});
  }
  SECTION("inline data as the place for a READ") {
    rewrite(f.head(), mlx5::Opcode::rdma_read, 3);
    wqe.put(2, mlx5::DataSeg{Be32::of(8 | mlx5::kInlineFlag), {}, {}});
  }
  f.put(wqe);
  f.ring();
  f.run();
  f.check_violation(ViolationKind::wqe_malformed, 0);
  f.check_syndrome(kQpOperation);
  CHECK(f.far.words[0] == 0);
}

// Bug class: a zero-length transfer with a data segment, which hardware reads as 2 GiB.
TEST_CASE("a data segment of 0 bytes is malformed", "[nic][strict]") {
  StrictPair f;
  Wire::Wqe wqe = Wire::make_write(f.head(), f.local(0), f.remote(0), 8);
  wqe.put(2, mlx5::DataSeg{Be32::of(0), Be32::of(f.local(0).lkey), Be64::of(f.local(0).address)});
  f.put(wqe);
  f.ring();
  f.run();
  f.check_violation(ViolationKind::wqe_malformed, 0);
  f.check_syndrome(kQpOperation);
}

// Bug class: a large put that nobody has split.
TEST_CASE("a message above the largest is a local length error", "[nic][strict]") {
  sim::Fabric fabric;
  soft::SoftBackend backend(fabric);
  const auto near = backend.open_nic(0);
  const auto far = backend.open_nic(1);
  // The length is refused before a byte moves, so the ranges need no memory behind them.
  auto* nowhere = reinterpret_cast<void*>(uint64_t{1} << 40);
  const auto source = near->register_memory(nowhere, uint64_t{1} << 32, access::all);
  const auto target = far->register_memory(nowhere, uint64_t{1} << 32, access::all);
  const QueuePairConfig config{8, CqMode::owner_bit, 0, 0, 7};
  const auto qp = near->create_queue_pair(config);
  const auto peer = far->create_queue_pair(config);
  qp->connect(peer->address(), 1);
  peer->connect(qp->address(), 0);
  RawPoster poster(qp->device_view());
  const uint64_t address = uint64_t{1} << 40;
  poster.put(Wire::make_write(poster.head(), {address, source->lkey()}, {address, target->rkey()},
                              (1u << 30) + 1));
  poster.ring();
  fabric.run_until_idle();
  const auto cqe = poster.poll();
  REQUIRE(cqe.has_value());
  CHECK(cqe->syndrome == 0x01);
}

TEST_CASE("a queue pair that is not connected executes nothing", "[nic][strict]") {
  sim::Fabric fabric;
  alignas(64) uint8_t sq[8 * 64];
  mlx5::Cqe cqes[8];
  for (auto& cqe : cqes) cqe.tail = mlx5::kInvalidCqeTail;
  Be32 dbr[2] = {};
  Be32 cq_dbr[2] = {};
  sim::QueuePairRings rings;
  rings.sq = sq;
  rings.sq_wqebbs = 8;
  rings.dbr = dbr;
  rings.send_cq = {reinterpret_cast<uint8_t*>(cqes), 8, sizeof(mlx5::Cqe), cq_dbr};
  sim::Nic& nic = fabric.nic(0);
  const Qpn qpn = nic.create_queue_pair(rings);
  const auto wqe = Wire::make_nop({0, qpn, 0x08});
  std::memcpy(sq, wqe.bytes, 64);
  dbr[1] = Wire::dbr_value(1);
  *nic.doorbell_of(qpn) = Wire::doorbell_value(1, qpn);
  fabric.run_until_idle();
  REQUIRE(fabric.violation_count() == 1);
  CHECK(fabric.violations().front().kind == ViolationKind::wqe_malformed);
  CHECK(mlx5::CqeTail::of(cqes[0].tail).is_error());
  nic.destroy_queue_pair(qpn);
}

TEST_CASE("violations are counted for ever and kept up to a bound", "[nic][strict]") {
  StrictPair f;
  for (int i = 0; i < 100; ++i) {
    f.write_doorbell(Wire::doorbell_value(1, f.view.qpn + 1));
    f.run();
  }
  CHECK(f.fabric.violation_count() == 100);
  CHECK(f.fabric.violations().size() == 64);
}

}  // namespace
}  // namespace ringer::test
