// SPDX-License-Identifier: Apache-2.0
// What the NIC refuses, with which syndrome, at which end, and what becomes of the rest.
#include <cstring>

#include "support/catch.hpp"
#include "support/queue_fixture.hpp"
#include "support/raw_poster.hpp"

namespace ringer::test {
namespace {

constexpr uint32_t kLocalProtection = 0x04;
constexpr uint32_t kFlushed = 0x05;
constexpr uint32_t kRemoteAccess = 0x13;
constexpr uint32_t kRetryExceeded = 0x15;

struct ErrorPair : QueueFixture, RawPoster {
  ErrorPair() : QueueFixture(ring_of(8, CqMode::owner_bit)), RawPoster(QueueFixture::view) {
    pause();
  }
  /// Posts one WQE and returns the syndrome that it ends with (0: completed).
  uint32_t end_of(const Wire::Wqe& wqe) {
    put(wqe);
    ring();
    fabric.run_until_idle();
    const auto cqe = poll();
    REQUIRE(cqe.has_value());
    CHECK(cqe->wqe_counter == static_cast<uint16_t>(next() - 1));
    return cqe->syndrome;
  }
  RemoteRef with_key(uint32_t rkey) const { return {remote().address, rkey}; }
  LocalRef near_with_key(uint32_t lkey) const { return {local().address, lkey}; }
};

TEST_CASE("an unknown remote key is a remote access error", "[nic][error]") {
  ErrorPair f;
  CHECK(f.end_of(Wire::make_write(f.head(), f.local(), f.with_key(0), 8)) == kRemoteAccess);
}

TEST_CASE("an unknown local key is a local protection error", "[nic][error]") {
  ErrorPair f;
  const uint32_t key = GENERATE(0u, 0xdead00u, 0xffffffffu);
  CHECK(f.end_of(Wire::make_write(f.head(), f.near_with_key(key), f.remote(), 8)) ==
        kLocalProtection);
}

// Bug class R14: a key that outlives its registration.
TEST_CASE("a key dies with its registration, even when its slot is used again", "[nic][error]") {
  ErrorPair f;
  auto* memory = f.far.words.data();
  const size_t bytes = f.far.words.size() * 8;
  auto region = f.far.nic->register_memory(memory, bytes, access::all);
  const uint32_t stale = region->rkey();
  CHECK(f.end_of(Wire::make_write(f.head(), f.local(), f.with_key(stale), 8)) == 0);
  region.reset();
  SECTION("deregistered") {}
  SECTION("and registered again") {
    region = f.far.nic->register_memory(memory, bytes, access::all);
    CHECK(region->rkey() != stale);
    CHECK(region->rkey() >> 8 == stale >> 8);
  }
  CHECK(f.end_of(Wire::make_write(f.head(), f.local(), f.with_key(stale), 8)) == kRemoteAccess);
}

TEST_CASE("a range may end where the region ends and not one byte further", "[nic][error]") {
  ErrorPair f;
  const uint64_t bytes = f.far.words.size() * 8;
  const RemoteRef last{f.remote().address + bytes - 8, f.remote().rkey};
  REQUIRE(f.end_of(Wire::make_write(f.head(), f.local(), last, 8)) == 0);
  SECTION("beyond the end") {
    const RemoteRef beyond{last.address + 1, last.rkey};
    CHECK(f.end_of(Wire::make_write(f.head(), f.local(), beyond, 8)) == kRemoteAccess);
  }
  SECTION("before the beginning") {
    const RemoteRef before{f.remote().address - 1, last.rkey};
    CHECK(f.end_of(Wire::make_write(f.head(), f.local(), before, 8)) == kRemoteAccess);
  }
  SECTION("so long that address plus length wraps") {
    const RemoteRef far_up{~uint64_t{0} - 3, last.rkey};
    CHECK(f.end_of(Wire::make_write(f.head(), f.local(), far_up, 8)) == kRemoteAccess);
  }
  SECTION("local range beyond the end") {
    const LocalRef beyond{f.local().address + bytes - 7, f.local().lkey};
    CHECK(f.end_of(Wire::make_write(f.head(), beyond, f.remote(), 8)) == kLocalProtection);
  }
}

TEST_CASE("each operation needs its right at the responder", "[nic][error]") {
  ErrorPair f;
  auto* memory = f.far.words.data();
  const auto key_of = [&](uint32_t rights) {
    return f.far.nic->register_memory(memory, f.far.words.size() * 8, rights);
  };
  const uint32_t right = GENERATE(access::remote_write, access::remote_read, access::remote_atomic);
  const auto build = [&](uint32_t rkey) {
    if (right == access::remote_write) {
      return Wire::make_write(f.head(), f.local(), f.with_key(rkey), 8);
    }
    if (right == access::remote_read) {
      return Wire::make_read(f.head(), f.local(), f.with_key(rkey), 8);
    }
    return Wire::make_fetch_add(f.head(), 1, f.local(), f.with_key(rkey));
  };
  const auto just_enough = key_of(right);
  CHECK(f.end_of(build(just_enough->rkey())) == 0);
  const auto all_but = key_of(access::all & ~right);
  CHECK(f.end_of(build(all_but->rkey())) == kRemoteAccess);
}

TEST_CASE("what returns data needs the local write right", "[nic][error]") {
  ErrorPair f;
  const auto region = f.near.nic->register_memory(f.near.words.data(), 64, access::remote_read);
  const LocalRef read_only = f.near_with_key(region->lkey());
  REQUIRE(f.end_of(Wire::make_write(f.head(), read_only, f.remote(), 8)) == 0);
  SECTION("read") {
    CHECK(f.end_of(Wire::make_read(f.head(), read_only, f.remote(), 8)) == kLocalProtection);
  }
  SECTION("atomic") {
    CHECK(f.end_of(Wire::make_fetch_add(f.head(), 1, read_only, f.remote())) == kLocalProtection);
    CHECK(f.far.words[0] == 0);
  }
}

TEST_CASE("a misaligned atomic is an invalid request", "[nic][error]") {
  ErrorPair f;
  const RemoteRef odd{f.remote().address + 4, f.remote().rkey};
  CHECK(f.end_of(Wire::make_fetch_add(f.head(), 1, f.local(), odd)) == 0x12);
}

TEST_CASE("a 4-byte atomic needs 4-byte alignment only", "[nic][error]") {
  ErrorPair f;
  const RemoteRef odd{f.remote().address + 4, f.remote().rkey};
  CHECK(f.end_of(Wire::make_fetch_add4(f.head(), 1, f.local(), odd)) == 0);
  CHECK(f.far.words[0] == uint64_t{1} << 32);
}

TEST_CASE("an atomic's result place has the operand's size", "[nic][error]") {
  ErrorPair f;
  auto wqe = Wire::make_fetch_add(f.head(), 1, f.local(), f.remote());
  wqe.put(3, mlx5::make_data(f.local(), 4));
  CHECK(f.end_of(wqe) == 0x01);
  CHECK(f.far.words[0] == 0);
}

TEST_CASE("a NIC without atomics refuses them", "[nic][error]") {
  sim::NicConfig config;
  config.atomics = false;
  sim::Fabric fabric(config);
  soft::SoftBackend backend(fabric);
  const QueuePairConfig geometry{8, CqMode::owner_bit, 0, 0, 7};
  QueueEnd near(backend, 0, geometry, 8);
  QueueEnd far(backend, 1, geometry, 8);
  near.qp->connect(far.qp->address(), 1);
  far.qp->connect(near.qp->address(), 0);
  CHECK_FALSE(near.nic->caps().atomics);
  RawPoster poster(near.qp->device_view());
  poster.put(Wire::make_fetch_add(
      poster.head(), 1, {reinterpret_cast<uint64_t>(near.words.data()), near.region->lkey()},
      {reinterpret_cast<uint64_t>(far.words.data()), far.region->rkey()}));
  poster.ring();
  fabric.run_until_idle();
  const auto cqe = poster.poll();
  REQUIRE(cqe.has_value());
  CHECK(cqe->syndrome == 0x02);
  CHECK(far.words[0] == 0);
}

// Bug class R1: everything behind the first error comes back, signaled or not, and in order.
TEST_CASE("all WQEs behind the first error are flushed, unsignaled ones too", "[nic][error]") {
  ErrorPair f;
  f.put(Wire::make_write_value(f.head(false), uint64_t{1}, f.remote(0)));
  f.put(Wire::make_write(f.head(false), f.local(), f.with_key(0xdead00), 8));
  for (int i = 0; i < 4; ++i) {
    f.put(Wire::make_write_value(f.head(i % 2 == 0), uint64_t{2}, f.remote(0)));
  }
  f.ring();
  f.fabric.run_until_idle();
  for (uint16_t i = 1; i < 6; ++i) {
    const auto cqe = f.poll();
    REQUIRE(cqe.has_value());
    CHECK(cqe->opcode == mlx5::CqeOpcode::requester_error);
    CHECK(cqe->wqe_counter == i);
    CHECK(cqe->syndrome == (i == 1 ? kRemoteAccess : kFlushed));
  }
  CHECK_FALSE(f.poll().has_value());
  CHECK(f.far.words[0] == 1);
  CHECK(f.end_of(Wire::make_write_value(f.head(), uint64_t{3}, f.remote(0))) == kFlushed);
  CHECK(f.far.words[0] == 1);
  uint64_t index = 0;
  CHECK(f.fabric.nic(0).first_error(f.view.qpn, &index) == kRemoteAccess);
  CHECK(index == 1);
  CHECK(f.counters().error_cqes == 6);
}

TEST_CASE("a failed WQE of two blocks completes once", "[nic][error]") {
  ErrorPair f;
  auto wqe = Wire::make_write(f.head(), f.local(), f.with_key(0xdead00), 8);
  uint8_t bytes[80] = {};
  wqe.put(3, mlx5::make_data(f.local(), 8));
  mlx5::put_ctrl(wqe, f.head(), mlx5::Opcode::rdma_write, 5);
  std::memcpy(bytes, wqe.bytes, 64);
  const auto last = mlx5::make_data(f.local(), 8);
  std::memcpy(bytes + 64, &last, 16);
  f.put_segments(bytes, 5);
  f.put(Wire::make_nop(f.head()));
  f.ring();
  f.fabric.run_until_idle();
  auto cqe = f.poll();
  REQUIRE(cqe.has_value());
  CHECK((cqe->wqe_counter == 0 && cqe->syndrome == kRemoteAccess));
  cqe = f.poll();
  REQUIRE(cqe.has_value());
  CHECK((cqe->wqe_counter == 2 && cqe->syndrome == kFlushed));
  CHECK_FALSE(f.poll().has_value());
}

TEST_CASE("the first error stays first, whatever follows", "[nic][error]") {
  ErrorPair f;
  const Qpn qpn = f.view.qpn;
  CHECK(f.end_of(Wire::make_write(f.head(), f.local(), f.with_key(0xdead00), 8)) == kRemoteAccess);
  f.write_record(100);  // beyond the ring
  f.write_doorbell(Wire::doorbell_value(100, qpn));
  f.fabric.run_until_idle();
  uint64_t index = 99;
  CHECK(f.fabric.nic(0).first_error(qpn, &index) == kRemoteAccess);
  CHECK(index == 0);
}

TEST_CASE("a responder that refuses goes to error itself", "[nic][error]") {
  ErrorPair f;
  REQUIRE(f.end_of(Wire::make_write(f.head(), f.local(), f.with_key(0xdead00), 8)) ==
          kRemoteAccess);
  const auto far_view = f.far.qp->device_view();
  Endpoint<ProbePlatform, SharedByGpu> ep(f.platform, far_view);
  const RemoteRef back{f.local().address, f.near.region->rkey()};
  REQUIRE(ep.put_inline(uint64_t{7}, back, kLoud, f.soon()).status.ok());
  f.fabric.run_until_idle();
  CHECK(ep.queue().completions().poll().syndrome == kFlushed);
  CHECK(f.near.words[0] == 0);
}

TEST_CASE("peers of a dead NIC see transport retry exceeded", "[nic][error]") {
  ErrorPair f;
  f.put(Wire::make_write_value(f.head(), uint64_t{1}, f.remote(0)));
  f.ring();
  f.fabric.nic(1).power_off();
  f.fabric.run_until_idle();
  const auto cqe = f.poll();
  REQUIRE(cqe.has_value());
  CHECK(cqe->syndrome == kRetryExceeded);
  CHECK(f.far.words[0] == 0);
}

TEST_CASE("a dead NIC executes nothing", "[nic][error]") {
  ErrorPair f;
  f.put(Wire::make_write_value(f.head(), uint64_t{1}, f.remote(0)));
  f.ring();
  f.fabric.nic(0).power_off();
  CHECK_FALSE(f.fabric.step());
  CHECK_FALSE(f.poll().has_value());
  CHECK(f.far.words[0] == 0);
}

TEST_CASE("the peer of a destroyed queue pair sees transport retry exceeded", "[nic][error]") {
  ErrorPair f;
  f.far.qp.reset();
  SECTION("gone") {}
  SECTION("and its slot in use again") {
    f.far.qp = f.far.nic->create_queue_pair({8, CqMode::collapsed, 0, 0, 7});
    f.far.qp->connect(f.near.qp->address(), 0);
  }
  CHECK(f.end_of(Wire::make_write_value(f.head(), uint64_t{1}, f.remote(0))) == kRetryExceeded);
  CHECK(f.far.words[0] == 0);
}

}  // namespace
}  // namespace ringer::test
