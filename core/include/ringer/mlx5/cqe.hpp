// SPDX-License-Identifier: Apache-2.0
// mlx5 completion queue entries, 64-byte format, retyped from the PRM and <infiniband/mlx5dv.h>.
#pragma once

#include <cstddef>
#include <cstdint>

#include <ringer/types.hpp>

namespace ringer::mlx5 {

/// mlx5dv MLX5_CQE_*: the high nibble of `op_own`.
enum class CqeOpcode : uint8_t {
  requester = 0,
  responder_write_imm = 1,
  responder_send = 2,
  responder_send_imm = 3,
  responder_send_invalidate = 4,
  resize_cq = 5,
  requester_error = 13,
  responder_error = 14,
  invalid = 15,
};

/// mlx5dv MLX5_CQE_SYNDROME_*.
enum class Syndrome : uint8_t {
  local_length = 0x01,
  local_qp_operation = 0x02,
  local_protection = 0x04,
  flushed = 0x05,
  window_bind = 0x06,
  bad_response = 0x10,
  local_access = 0x11,
  remote_invalid_request = 0x12,
  remote_access = 0x13,
  remote_operation = 0x14,
  retry_exceeded = 0x15,
  rnr_retry_exceeded = 0x16,
  remote_aborted = 0x22,
};

/// The fields Ringer reads or writes; the rest is reserved here. `error_word` is
/// vendor_err_synd at byte 54 and syndrome at byte 55 of an error CQE, and part of the timestamp
/// otherwise.
struct Cqe {
  uint8_t reserved0[22];
  Be16 slid;        ///< datagrams: the sender's lid
  Be32 flags_rqpn;  ///< datagrams: cqe_flag, and the sender's queue pair
  uint8_t reserved28[4];
  Be32 srqn_uidx;  ///< the user's number of the queue pair or shared receive queue
  Be32 imm;        ///< imm_inval_pkey
  uint8_t reserved40[4];
  Be32 byte_cnt;
  Be32 timestamp_hi;
  Be32 error_word;
  Be32 opcode_qpn;  ///< sop_drop_qpn / s_wqe_opcode_qpn: WQE opcode << 24 | qpn
  Be32 tail;        ///< wqe_counter << 16 | signature << 8 | op_own: written last, read first
};
static_assert(sizeof(Cqe) == 64 && offsetof(Cqe, slid) == 22 && offsetof(Cqe, srqn_uidx) == 32);
static_assert(offsetof(Cqe, byte_cnt) == 44 && offsetof(Cqe, error_word) == 52);
static_assert(offsetof(Cqe, opcode_qpn) == 56 && offsetof(Cqe, tail) == 60);

/// In the upper byte of flags_rqpn.
namespace cqe_flag {
inline constexpr uint32_t has_grh = 1u << 28;
inline constexpr uint32_t grh_is_ipv6 = 1u << 24;  ///< RoCE v2
inline constexpr uint32_t grh_is_ipv4 = 2u << 24;
}  // namespace cqe_flag

/// The last four bytes of a CQE taken apart. They travel as one word, so that validity, index and
/// opcode are always of the same completion.
struct CqeTail {
  uint16_t wqe_counter;
  CqeOpcode opcode;
  bool owner;

  RINGER_HD static constexpr CqeTail of(Be32 word) {
    const uint32_t v = word.value();
    return {static_cast<uint16_t>(v >> 16), static_cast<CqeOpcode>((v >> 4) & 0xf), (v & 1) != 0};
  }
  RINGER_HD constexpr Be32 word() const {
    return Be32::of((uint32_t{wqe_counter} << 16) | (static_cast<uint32_t>(opcode) << 4) |
                    (owner ? 1u : 0u));
  }
  RINGER_HD constexpr bool is_error() const {
    return opcode == CqeOpcode::requester_error || opcode == CqeOpcode::responder_error;
  }
};

/// Tail of a CQE that the NIC has not written yet: opcode invalid, owner 1. Either owner value
/// would do, since the opcode is looked at first.
inline constexpr Be32 kInvalidCqeTail = Be32::of(0xffff00f1u);

RINGER_HD constexpr uint32_t syndrome_of(Be32 error_word) { return error_word.value() & 0xff; }

}  // namespace ringer::mlx5
