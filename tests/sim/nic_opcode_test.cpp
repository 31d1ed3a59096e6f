// SPDX-License-Identifier: Apache-2.0
// The software NIC's opcodes, driven by raw WQEs.
#include <cstring>
#include <vector>

#include "support/catch.hpp"
#include "support/queue_fixture.hpp"
#include "support/raw_poster.hpp"

namespace ringer::test {
namespace {

/// Segments of one WQE, put together by hand.
class WqeBytes {
 public:
  WqeBytes(const Wire::Head& head, mlx5::Opcode opcode, uint8_t opmod = 0, uint32_t imm = 0)
      : head_(head), opcode_(opcode), opmod_(opmod), imm_(imm), bytes_(16) {}
  template <class Seg>
  WqeBytes& add(const Seg& seg) {
    const size_t at = bytes_.size();
    bytes_.resize(at + (sizeof(Seg) + 15) / 16 * 16);
    std::memcpy(bytes_.data() + at, &seg, sizeof(Seg));
    return *this;
  }
  void post_to(RawPoster& poster) {
    Wire::Wqe ctrl;
    const auto segments = static_cast<uint32_t>(bytes_.size() / 16);
    mlx5::put_ctrl(ctrl, head_, opcode_, segments, opmod_, imm_);
    std::memcpy(bytes_.data(), ctrl.bytes, 16);
    poster.put_segments(bytes_.data(), segments);
  }

 private:
  Wire::Head head_;
  mlx5::Opcode opcode_;
  uint8_t opmod_;
  uint32_t imm_;
  std::vector<uint8_t> bytes_;
};

struct RawPair : QueueFixture, RawPoster {
  explicit RawPair(uint64_t start = 0)
      : QueueFixture(ring_of(8, CqMode::owner_bit, start)), RawPoster(QueueFixture::view) {
    pause();
  }
  /// Announces, runs the NIC and takes the one completion that must come.
  void finish() {
    ring();
    fabric.run_until_idle();
    const auto cqe = poll();
    REQUIRE(cqe.has_value());
    REQUIRE(cqe->opcode == mlx5::CqeOpcode::requester);
    REQUIRE_FALSE(poll().has_value());
    REQUIRE(violations() == "");
  }
};

uint64_t any_start() { return GENERATE(as<uint64_t>{}, 0, 5, 65536 - 1); }

TEST_CASE("a CQE names the index of its WQE and carries the owner bit of its lap", "[nic]") {
  RawPair f(any_start());
  for (uint64_t i = 0; i < 40; ++i) {
    const uint64_t index = f.next();
    f.put(Wire::make_nop(f.head()));
    f.ring();
    f.fabric.run_until_idle();
    const auto cqe = f.poll();
    REQUIRE(cqe.has_value());
    CHECK(cqe->wqe_counter == static_cast<uint16_t>(index));
  }
  CHECK(f.counters().wqes == 40);
  CHECK(f.counters().cqes == 40);
}

TEST_CASE("a WRITE onto its own source moves it as memmove would", "[nic]") {
  RawPair f;
  const auto key = f.far.nic->register_memory(f.near.words.data(), 4096, access::all);
  for (uint64_t i = 0; i < 64; ++i) f.near.words[i] = i;
  f.put(Wire::make_write(f.head(), f.local(0),
                         {reinterpret_cast<uint64_t>(&f.near.words[1]), key->rkey()}, 63 * 8));
  f.finish();
  for (uint64_t i = 1; i < 64; ++i) CHECK(f.near.words[i] == i - 1);
}

TEST_CASE("WRITE and READ move memory the right way", "[nic]") {
  RawPair f(any_start());
  f.near.words[0] = 11;
  f.far.words[1] = 22;
  f.put(Wire::make_write(f.head(false), f.local(0), f.remote(0), 8));
  f.put(Wire::make_read(f.head(), f.local(1), f.remote(1), 8));
  f.finish();
  CHECK((f.far.words[0] == 11 && f.far.words[1] == 22));
  CHECK((f.near.words[0] == 11 && f.near.words[1] == 22));
  CHECK(f.counters().bytes_moved == 16);
}

TEST_CASE("a WRITE gathers from several places, inline data among them", "[nic]") {
  RawPair f(any_start());
  f.near.words[3] = 0x1111111111111111u;
  f.near.words[9] = 0x3333333333333333u;
  struct {
    Be32 header = Be32::of(8 | mlx5::kInlineFlag);
    uint8_t data[8] = {0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22};
  } inline_data;
  WqeBytes(f.head(), mlx5::Opcode::rdma_write)
      .add(mlx5::make_raddr(f.remote(20)))
      .add(mlx5::make_data(f.local(3), 8))
      .add(inline_data)
      .add(mlx5::make_data(f.local(9), 8))
      .post_to(f);
  f.finish();
  CHECK(f.far.words[20] == 0x1111111111111111u);
  CHECK(f.far.words[21] == 0x2222222222222222u);
  CHECK(f.far.words[22] == 0x3333333333333333u);
  CHECK(f.far.words[23] == 0);
}

TEST_CASE("a READ scatters to several places", "[nic]") {
  RawPair f(any_start());
  for (uint64_t i = 0; i < 3; ++i) f.far.words[i] = 100 + i;
  WqeBytes(f.head(), mlx5::Opcode::rdma_read)
      .add(mlx5::make_raddr(f.remote(0)))
      .add(mlx5::make_data(f.local(5), 8))
      .add(mlx5::make_data(f.local(1), 16))
      .post_to(f);
  f.finish();
  CHECK((f.near.words[5] == 100 && f.near.words[1] == 101 && f.near.words[2] == 102));
}

TEST_CASE("8-byte fetch-and-add and compare-and-swap return the value before", "[nic]") {
  RawPair f(any_start());
  f.far.words[0] = ~uint64_t{0};
  f.put(Wire::make_fetch_add(f.head(), 2, f.local(0), f.remote(0)));
  f.finish();
  CHECK((f.near.words[0] == ~uint64_t{0} && f.far.words[0] == 1));
  f.put(Wire::make_compare_swap(f.head(), 0, 50, f.local(0), f.remote(0)));
  f.finish();
  CHECK((f.near.words[0] == 1 && f.far.words[0] == 1));
  f.put(Wire::make_compare_swap(f.head(), 1, 50, f.local(0), f.remote(0)));
  f.finish();
  CHECK((f.near.words[0] == 1 && f.far.words[0] == 50));
}

TEST_CASE("a masked 4-byte add stops its carry at each boundary", "[nic]") {
  RawPair f(any_start());
  f.far.words[0] = 0x77777777'00ffff80u;
  const mlx5::MaskedFetchAdd4Seg operands{Be32::of(0x01010180u), Be32::of(0x80808080u), {0, 0}};
  WqeBytes(f.head(), mlx5::Opcode::atomic_masked_fa, mlx5::kExtendedAtomic4)
      .add(mlx5::make_raddr(f.remote(0)))
      .add(operands)
      .add(mlx5::make_data(f.local(0), 4))
      .post_to(f);
  f.finish();
  CHECK(static_cast<uint32_t>(f.near.words[0]) == 0x00ffff80u);
  CHECK(f.far.words[0] == 0x77777777'01000000u);
}

TEST_CASE("a masked 8-byte add without boundary is a plain add", "[nic]") {
  const bool one_field = GENERATE(true, false);
  RawPair f(any_start());
  f.far.words[0] = 0x00000001'ffffffffu;
  WqeBytes(f.head(), mlx5::Opcode::atomic_masked_fa, mlx5::kExtendedAtomic8)
      .add(mlx5::make_raddr(f.remote(0)))
      .add(mlx5::AtomicSeg{Be64::of(1), Be64::of(one_field ? 0 : 0x80000000u)})
      .add(mlx5::make_data(f.local(0), 8))
      .post_to(f);
  f.finish();
  CHECK(f.near.words[0] == 0x00000001'ffffffffu);
  CHECK(f.far.words[0] == (one_field ? 0x00000002'00000000u : 0x00000001'00000000u));
}

TEST_CASE("a masked 4-byte compare-and-swap looks at and changes only its bits", "[nic]") {
  RawPair f(any_start());
  f.far.words[0] = 0x99999999'1234abcdu;
  const mlx5::MaskedCompareSwap4Seg operands{Be32::of(0xffff5555u), Be32::of(0x1234eeeeu),
                                             Be32::of(0x0000ffffu), Be32::of(0xffff0000u)};
  WqeBytes(f.head(), mlx5::Opcode::atomic_masked_cs, mlx5::kExtendedAtomic4)
      .add(mlx5::make_raddr(f.remote(0)))
      .add(operands)
      .add(mlx5::make_data(f.local(0), 4))
      .post_to(f);
  f.finish();
  CHECK(static_cast<uint32_t>(f.near.words[0]) == 0x1234abcdu);
  CHECK(f.far.words[0] == 0x99999999'12345555u);
}

// Five segments: two basic blocks, the second in slot 0 when the first is the ring's last.
TEST_CASE("a masked 8-byte compare-and-swap of two blocks wraps the ring's end", "[nic]") {
  const uint64_t start = GENERATE(as<uint64_t>{}, 0, 7, 65536 - 1);
  const bool equal = GENERATE(true, false);
  RawPair f(start);
  f.far.words[0] = 0x1111222233334444u;
  WqeBytes(f.head(), mlx5::Opcode::atomic_masked_cs, mlx5::kExtendedAtomic8)
      .add(mlx5::make_raddr(f.remote(0)))
      .add(mlx5::AtomicSeg{Be64::of(0xaaaabbbbccccddddu),                      // swap
                           Be64::of(equal ? 0x11110000'00000000u : 0x5u)})     // compare
      .add(mlx5::AtomicSeg{Be64::of(0x0000ffff'0000ffffu),                     // swap mask
                           Be64::of(equal ? 0xffff0000'00000000u : 0xffffu)})  // compare mask
      .add(mlx5::make_data(f.local(0), 8))
      .post_to(f);
  CHECK(f.next() == start + 2);
  f.put(Wire::make_nop(f.head(false)));  // what follows is found behind both blocks
  f.finish();
  CHECK(f.near.words[0] == 0x1111222233334444u);
  CHECK(f.far.words[0] == (equal ? 0x1111bbbb3333ddddu : 0x1111222233334444u));
  CHECK(f.counters().wqes == 2);
}

TEST_CASE("both forms of the doorbell announce the same", "[nic]") {
  RawPair f(any_start());
  f.put(Wire::make_nop(f.head(false)));
  f.put(Wire::make_write_value(f.head(), uint64_t{5}, f.remote(0)));
  SECTION("next index, queue pair") { f.ring(); }
  SECTION("first 8 bytes of the last WQE") { f.ring_with_last_wqe(f.next() - 1); }
  SECTION("first 8 bytes of a last WQE that is a NOP") {
    f.put(Wire::make_nop(f.head(false)));
    f.ring_with_last_wqe(f.next() - 1);
  }
  f.fabric.run_until_idle();
  CHECK(f.poll().has_value());
  CHECK(f.far.words[0] == 5);
  CHECK(f.violations() == "");
}

TEST_CASE("the doorbell of a last WQE of two blocks announces both", "[nic]") {
  RawPair f(any_start());
  WqeBytes(f.head(), mlx5::Opcode::rdma_write)
      .add(mlx5::make_raddr(f.remote(0)))
      .add(mlx5::make_data(f.local(0), 8))
      .add(mlx5::make_data(f.local(0), 8))
      .add(mlx5::make_data(f.local(0), 8))
      .post_to(f);
  f.ring_with_last_wqe(f.next() - 2);
  f.fabric.run_until_idle();
  CHECK(f.poll().has_value());
  CHECK(f.violations() == "");
}

TEST_CASE("two rings before the NIC looks count as the last one", "[nic]") {
  RawPair f(any_start());
  f.put(Wire::make_nop(f.head()));
  f.ring();
  f.put(Wire::make_nop(f.head()));
  f.ring();
  f.fabric.run_until_idle();
  CHECK(f.counters().doorbells == 1);
  CHECK(f.counters().wqes == 2);
  CHECK(f.violations() == "");
}

TEST_CASE("queue pairs take turns", "[nic]") {
  RawPair f;
  auto other = f.near.nic->create_queue_pair({8, CqMode::owner_bit, 0, 0, 7});
  auto peer = f.far.nic->create_queue_pair({8, CqMode::owner_bit, 0, 0, 7});
  other->connect(peer->address(), 1);
  peer->connect(other->address(), 0);
  RawPoster second(other->device_view());
  for (uint64_t i = 0; i < 4; ++i) {
    f.put(Wire::make_write_value(f.head(), i + 1, f.remote(0)));
    second.put(Wire::make_write_value(second.head(), i + 1, f.remote(1)));
  }
  f.ring();
  second.ring();
  for (uint64_t turn = 1; turn <= 8; ++turn) {
    f.fabric.step(1);
    CHECK(f.far.words[0] + f.far.words[1] == turn);
    CHECK(f.far.words[0] <= f.far.words[1] + 1);
    CHECK(f.far.words[1] <= f.far.words[0] + 1);
  }
}

}  // namespace
}  // namespace ringer::test
