// SPDX-License-Identifier: Apache-2.0
// Byte for byte against rdma-core's own header: what it builds is what a ConnectX takes.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wpedantic"
#include <infiniband/mlx5dv.h>
#pragma GCC diagnostic pop

#include <array>
#include <cstddef>
#include <cstring>
#include <string>

#include <endian.h>

#include <ringer/mlx5/wire.hpp>

#include "support/catch.hpp"

namespace ringer::mlx5 {
namespace {

constexpr uint64_t kIndices[] = {0, 1, 255, 256, 65535, 65536, (uint64_t{1} << 32) + 7};
constexpr Qpn kQpn = 0xabcdef;
constexpr LocalRef kLocal{0x0123456789abcdefu, 0x11223344u};
constexpr RemoteRef kRemote{0xfedcba9876543210u, 0x55667788u};

std::string hex(const uint8_t* bytes, size_t n) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (size_t i = 0; i < n; ++i) {
    if (i != 0 && i % 16 == 0) text += '\n';
    text += kDigits[bytes[i] >> 4];
    text += kDigits[bytes[i] & 0xf];
  }
  return text;
}

/// A WQE put together by rdma-core's functions and structs.
class Expected {
 public:
  Expected(uint64_t index, uint8_t opcode, uint8_t opmod, uint8_t flags, uint8_t segments,
           uint32_t imm = 0) {
    mlx5dv_set_ctrl_seg(&ctrl_, static_cast<uint16_t>(index), opcode, opmod, kQpn, flags, segments,
                        0, htobe32(imm));
    append(ctrl_);
  }
  Expected& raddr() {
    mlx5_wqe_raddr_seg seg{};
    seg.raddr = htobe64(kRemote.address);
    seg.rkey = htobe32(kRemote.rkey);
    return append(seg);
  }
  Expected& data(uint32_t bytes) {
    mlx5_wqe_data_seg seg{};
    mlx5dv_set_data_seg(&seg, bytes, kLocal.lkey, kLocal.address);
    return append(seg);
  }
  Expected& atomic(uint64_t swap_add, uint64_t compare) {
    mlx5_wqe_atomic_seg seg{};
    seg.swap_add = htobe64(swap_add);
    seg.compare = htobe64(compare);
    return append(seg);
  }
  Expected& inline_data(const void* data, uint32_t bytes) {
    mlx5_wqe_inl_data_seg seg{};
    seg.byte_count = htobe32(bytes | MLX5_INLINE_SEG);
    append(seg);
    std::memcpy(bytes_.data() + size_, data, bytes);
    size_ = (size_ + bytes + 15) / 16 * 16;
    return *this;
  }
  template <class Seg>
  Expected& append(const Seg& seg) {
    std::memcpy(bytes_.data() + size_, &seg, sizeof(seg));
    size_ += sizeof(seg);
    return *this;
  }

  void require_equal(const Wqe& wqe) const {
    REQUIRE(wqe.segments * 16 == size_);
    REQUIRE(hex(wqe.bytes, size_) == hex(bytes_.data(), size_));
  }

 private:
  mlx5_wqe_ctrl_seg ctrl_{};
  std::array<uint8_t, 64> bytes_{};
  size_t size_ = 0;
};

struct Variant {
  uint64_t index;
  uint8_t flags;
  WqeHead head() const { return {index, kQpn, flags}; }
};

Variant any_variant() {
  const uint64_t index = kIndices[GENERATE(range(0, 7))];
  const auto flags = static_cast<uint8_t>(
      GENERATE(as<int>{}, 0, MLX5_WQE_CTRL_CQ_UPDATE,
               MLX5_WQE_CTRL_CQ_UPDATE | MLX5_WQE_CTRL_SOLICITED | MLX5_WQE_CTRL_FENCE));
  return {index, flags};
}

TEST_CASE("RDMA WRITE and READ are rdma-core's bytes", "[wire]") {
  const Variant v = any_variant();
  const uint32_t bytes = GENERATE(1u, 64u, 0x7fffffffu);
  Expected(v.index, MLX5_OPCODE_RDMA_WRITE, 0, v.flags, 3)
      .raddr()
      .data(bytes)
      .require_equal(Wire::make_write(v.head(), kLocal, kRemote, bytes));
  Expected(v.index, MLX5_OPCODE_RDMA_READ, 0, v.flags, 3)
      .raddr()
      .data(bytes)
      .require_equal(Wire::make_read(v.head(), kLocal, kRemote, bytes));
  Expected(v.index, MLX5_OPCODE_RDMA_WRITE_IMM, 0, v.flags, 3, 0xcafef00du)
      .raddr()
      .data(bytes)
      .require_equal(Wire::make_write_imm(v.head(), kLocal, kRemote, bytes, 0xcafef00du));
}

// Bug class: a zero-length put with a data segment, whose byte count 0 a NIC reads as 2 GiB.
TEST_CASE("zero-length transfers carry no data segment", "[wire]") {
  const Variant v = any_variant();
  Expected(v.index, MLX5_OPCODE_RDMA_WRITE, 0, v.flags, 2)
      .raddr()
      .require_equal(Wire::make_write(v.head(), kLocal, kRemote, 0));
  Expected(v.index, MLX5_OPCODE_RDMA_WRITE_IMM, 0, v.flags, 2, 9)
      .raddr()
      .require_equal(Wire::make_write_imm(v.head(), kLocal, kRemote, 0, 9));
  Expected(v.index, MLX5_OPCODE_SEND, 0, v.flags, 1)
      .require_equal(Wire::make_send(v.head(), kLocal, 0));
}

TEST_CASE("inline WRITEs of 1 to 28 bytes are rdma-core's bytes", "[wire]") {
  const Variant v = any_variant();
  uint8_t data[28];
  for (uint8_t i = 0; i < 28; ++i) data[i] = static_cast<uint8_t>(0x80 + i);
  for (uint32_t bytes = 1; bytes <= 28; ++bytes) {
    const auto segments = static_cast<uint8_t>(2 + (bytes + 4 + 15) / 16);
    Expected(v.index, MLX5_OPCODE_RDMA_WRITE, 0, v.flags, segments)
        .raddr()
        .inline_data(data, bytes)
        .require_equal(Wire::make_write_inline(v.head(), data, bytes, kRemote));
  }
  const uint32_t four = 0x01020304u;
  const uint64_t eight = 0x0102030405060708u;
  Expected(v.index, MLX5_OPCODE_RDMA_WRITE, 0, v.flags, 3)
      .raddr()
      .inline_data(&four, 4)
      .require_equal(Wire::make_write_value(v.head(), four, kRemote));
  Expected(v.index, MLX5_OPCODE_RDMA_WRITE, 0, v.flags, 3)
      .raddr()
      .inline_data(&eight, 8)
      .require_equal(Wire::make_write_value(v.head(), eight, kRemote));
}

TEST_CASE("8-byte atomics are rdma-core's bytes", "[wire]") {
  const Variant v = any_variant();
  Expected(v.index, MLX5_OPCODE_ATOMIC_FA, 0, v.flags, 4)
      .raddr()
      .atomic(0x8877665544332211u, 0)
      .data(8)
      .require_equal(Wire::make_fetch_add(v.head(), 0x8877665544332211u, kLocal, kRemote));
  Expected(v.index, MLX5_OPCODE_ATOMIC_CS, 0, v.flags, 4)
      .raddr()
      .atomic(/*swap_add=*/0x1111, /*compare=*/0x2222)
      .data(8)
      .require_equal(Wire::make_compare_swap(v.head(), 0x2222, 0x1111, kLocal, kRemote));
}

// mlx5dv.h has no struct for these; the layout is the PRM's, as DOCA and NVSHMEM write it.
TEST_CASE("4-byte atomics are extended atomics of opmod 8", "[wire]") {
  const Variant v = any_variant();
  const std::array<uint32_t, 4> add{htobe32(0x01020304u), 0, 0, 0};
  Expected(v.index, MLX5_OPCODE_ATOMIC_MASKED_FA, 8, v.flags, 4)
      .raddr()
      .append(add)
      .data(4)
      .require_equal(Wire::make_fetch_add4(v.head(), 0x01020304u, kLocal, kRemote));
  const std::array<uint32_t, 4> swap{htobe32(0x1111u), htobe32(0x2222u), 0xffffffffu, 0xffffffffu};
  Expected(v.index, MLX5_OPCODE_ATOMIC_MASKED_CS, 8, v.flags, 4)
      .raddr()
      .append(swap)
      .data(4)
      .require_equal(Wire::make_compare_swap4(v.head(), 0x2222, 0x1111, kLocal, kRemote));
}

TEST_CASE("SEND and NOP are rdma-core's bytes", "[wire]") {
  const Variant v = any_variant();
  Expected(v.index, MLX5_OPCODE_SEND, 0, v.flags, 2)
      .data(4096)
      .require_equal(Wire::make_send(v.head(), kLocal, 4096));
  Expected(v.index, MLX5_OPCODE_NOP, 0, v.flags, 1).require_equal(Wire::make_nop(v.head()));
}

TEST_CASE("a signaled WQE carries MLX5_WQE_CTRL_CQ_UPDATE and nothing else", "[wire]") {
  CHECK(Wire::signal_flags(true) == MLX5_WQE_CTRL_CQ_UPDATE);
  CHECK(Wire::signal_flags(false) == 0);
  CHECK(ctrl_flag::cq_update == MLX5_WQE_CTRL_CQ_UPDATE);
  CHECK(ctrl_flag::solicited == MLX5_WQE_CTRL_SOLICITED);
  CHECK(ctrl_flag::fence == MLX5_WQE_CTRL_FENCE);
  CHECK(ctrl_flag::initiator_small_fence == MLX5_WQE_CTRL_INITIATOR_SMALL_FENCE);
  CHECK(kInlineFlag == static_cast<uint32_t>(MLX5_INLINE_SEG));
  CHECK(kWqebbBytes == MLX5_SEND_WQE_BB);
}

// Bug class: the receive element of the doorbell record written instead of the send element.
TEST_CASE("doorbell record elements are mlx5dv's", "[wire]") {
  CHECK(Wire::kDbrReceive == MLX5_RCV_DBR);
  CHECK(Wire::kDbrSend == MLX5_SND_DBR);
}

TEST_CASE("the doorbell record holds the low 16 bits of the index, big-endian", "[wire]") {
  for (const uint64_t index : kIndices) {
    CHECK(Wire::dbr_value(index).raw == htobe32(static_cast<uint32_t>(index & 0xffff)));
  }
  CHECK(Wire::cq_dbr_value(0x1234567).raw == htobe32(0x234567));
}

TEST_CASE("the doorbell is {BE32 index << 8, BE32 qpn << 8} in memory order", "[wire]") {
  for (const uint64_t index : kIndices) {
    const uint64_t value = Wire::doorbell_value(index, kQpn);
    uint8_t bytes[8];
    std::memcpy(bytes, &value, 8);
    const uint8_t expected[8] = {
        0, static_cast<uint8_t>(index >> 8), static_cast<uint8_t>(index), 0, 0xab, 0xcd, 0xef, 0};
    CHECK(hex(bytes, 8) == hex(expected, 8));
  }
}

TEST_CASE("CQE fields lie where struct mlx5_cqe64 and mlx5_err_cqe have them", "[wire]") {
  CHECK(sizeof(Cqe) == sizeof(mlx5_cqe64));
  CHECK(offsetof(Cqe, imm) == offsetof(mlx5_cqe64, imm_inval_pkey));
  CHECK(offsetof(Cqe, byte_cnt) == offsetof(mlx5_cqe64, byte_cnt));
  CHECK(offsetof(Cqe, opcode_qpn) == offsetof(mlx5_cqe64, sop_drop_qpn));
  CHECK(offsetof(Cqe, tail) == offsetof(mlx5_cqe64, wqe_counter));

  const auto word = CqeTail{0x1234, CqeOpcode::requester_error, true}.word();
  mlx5_cqe64 cqe{};
  std::memcpy(reinterpret_cast<uint8_t*>(&cqe) + offsetof(Cqe, tail), &word, 4);
  CHECK(be16toh(cqe.wqe_counter) == 0x1234);
  CHECK(mlx5dv_get_cqe_opcode(&cqe) == MLX5_CQE_REQ_ERR);
  CHECK(mlx5dv_get_cqe_owner(&cqe) == 1);

  mlx5_err_cqe error{};
  error.syndrome = MLX5_CQE_SYNDROME_REMOTE_ACCESS_ERR;
  error.vendor_err_synd = 0x88;
  Be32 error_word;
  std::memcpy(&error_word, reinterpret_cast<uint8_t*>(&error) + offsetof(Cqe, error_word), 4);
  CHECK(syndrome_of(error_word) == MLX5_CQE_SYNDROME_REMOTE_ACCESS_ERR);
}

#define CHECK_SAME(ours, theirs) CHECK(static_cast<int>(ours) == static_cast<int>(theirs))

TEST_CASE("opcodes and syndromes are mlx5dv's", "[wire]") {
  CHECK_SAME(Opcode::nop, MLX5_OPCODE_NOP);
  CHECK_SAME(Opcode::rdma_write, MLX5_OPCODE_RDMA_WRITE);
  CHECK_SAME(Opcode::rdma_write_imm, MLX5_OPCODE_RDMA_WRITE_IMM);
  CHECK_SAME(Opcode::send, MLX5_OPCODE_SEND);
  CHECK_SAME(Opcode::send_imm, MLX5_OPCODE_SEND_IMM);
  CHECK_SAME(Opcode::rdma_read, MLX5_OPCODE_RDMA_READ);
  CHECK_SAME(Opcode::atomic_cs, MLX5_OPCODE_ATOMIC_CS);
  CHECK_SAME(Opcode::atomic_fa, MLX5_OPCODE_ATOMIC_FA);
  CHECK_SAME(Opcode::atomic_masked_cs, MLX5_OPCODE_ATOMIC_MASKED_CS);
  CHECK_SAME(Opcode::atomic_masked_fa, MLX5_OPCODE_ATOMIC_MASKED_FA);

  CHECK_SAME(CqeOpcode::requester, MLX5_CQE_REQ);
  CHECK_SAME(CqeOpcode::responder_write_imm, MLX5_CQE_RESP_WR_IMM);
  CHECK_SAME(CqeOpcode::responder_send, MLX5_CQE_RESP_SEND);
  CHECK_SAME(CqeOpcode::responder_send_imm, MLX5_CQE_RESP_SEND_IMM);
  CHECK_SAME(CqeOpcode::requester_error, MLX5_CQE_REQ_ERR);
  CHECK_SAME(CqeOpcode::responder_error, MLX5_CQE_RESP_ERR);
  CHECK_SAME(CqeOpcode::invalid, MLX5_CQE_INVALID);

  CHECK_SAME(Syndrome::local_length, MLX5_CQE_SYNDROME_LOCAL_LENGTH_ERR);
  CHECK_SAME(Syndrome::local_qp_operation, MLX5_CQE_SYNDROME_LOCAL_QP_OP_ERR);
  CHECK_SAME(Syndrome::local_protection, MLX5_CQE_SYNDROME_LOCAL_PROT_ERR);
  CHECK_SAME(Syndrome::flushed, MLX5_CQE_SYNDROME_WR_FLUSH_ERR);
  CHECK_SAME(Syndrome::bad_response, MLX5_CQE_SYNDROME_BAD_RESP_ERR);
  CHECK_SAME(Syndrome::local_access, MLX5_CQE_SYNDROME_LOCAL_ACCESS_ERR);
  CHECK_SAME(Syndrome::remote_invalid_request, MLX5_CQE_SYNDROME_REMOTE_INVAL_REQ_ERR);
  CHECK_SAME(Syndrome::remote_access, MLX5_CQE_SYNDROME_REMOTE_ACCESS_ERR);
  CHECK_SAME(Syndrome::remote_operation, MLX5_CQE_SYNDROME_REMOTE_OP_ERR);
  CHECK_SAME(Syndrome::retry_exceeded, MLX5_CQE_SYNDROME_TRANSPORT_RETRY_EXC_ERR);
  CHECK_SAME(Syndrome::rnr_retry_exceeded, MLX5_CQE_SYNDROME_RNR_RETRY_EXC_ERR);
  CHECK_SAME(Syndrome::remote_aborted, MLX5_CQE_SYNDROME_REMOTE_ABORTED_ERR);
}

}  // namespace
}  // namespace ringer::mlx5
