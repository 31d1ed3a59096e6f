// SPDX-License-Identifier: Apache-2.0
// Firmware commands (the mlx5 programmer's reference manual): big-endian records of bit fields.
#pragma once

#include <cstdint>
#include <cstring>

#include <ringer/types.hpp>

#include "request.hpp"

namespace ringer::sim::verbs::prm {

/// A field of at most 32 bits, within one 32-bit word; `bit` counts from the record's most
/// significant bit.
struct Field {
  uint32_t bit;
  uint32_t width;
};
/// A field of 64 bits.
struct Field64 {
  uint32_t bit;
};

/// The field as part of a record that begins at bit `base`.
constexpr Field at(uint32_t base, Field field) { return {base + field.bit, field.width}; }
constexpr Field64 at(uint32_t base, Field64 field) { return {base + field.bit}; }

constexpr uint32_t mask_of(Field field) {
  return field.width == 32 ? ~0u : (1u << field.width) - 1;
}
constexpr uint32_t shift_of(Field field) { return 32 - field.bit % 32 - field.width; }

/// Of a command that is too short the missing fields are zero.
class Input {
 public:
  explicit Input(const InBuffer& bytes) : bytes_(bytes) {}
  uint32_t get(Field field) const {
    return (word(field.bit / 32) >> shift_of(field)) & mask_of(field);
  }
  uint64_t get(Field64 field) const {
    return uint64_t{word(field.bit / 32)} << 32 | word(field.bit / 32 + 1);
  }

 private:
  uint32_t word(uint32_t index) const {
    Be32 value{};
    const size_t from = size_t{index} * sizeof value;
    if (from + sizeof value <= bytes_.size()) {
      std::memcpy(&value, bytes_.data() + from, sizeof value);
    }
    return value.value();
  }
  InBuffer bytes_;
};

/// An answer; what the caller left no room for is lost.
class Output {
 public:
  /// All zeros, which stands for success.
  explicit Output(const OutBuffer& bytes) : bytes_(bytes) { bytes_.put_bytes(nullptr, 0); }
  void set(Field field, uint32_t value) {
    const size_t from = size_t{field.bit / 32} * sizeof(Be32);
    if (from + sizeof(Be32) > bytes_.size()) return;
    Be32 word;
    std::memcpy(&word, bytes_.data() + from, sizeof word);
    const uint32_t mask = mask_of(field) << shift_of(field);
    word = Be32::of((word.value() & ~mask) | ((value << shift_of(field)) & mask));
    std::memcpy(bytes_.data() + from, &word, sizeof word);
  }

 private:
  OutBuffer bytes_;
};

enum class Opcode : uint32_t {
  query_hca_cap = 0x100,
  create_mkey = 0x200,
  create_cq = 0x400,
  create_qp = 0x500,
  rst2init_qp = 0x502,
  init2rtr_qp = 0x503,
  rtr2rts_qp = 0x504,
  rts2rts_qp = 0x505,
  qp_2err = 0x507,
  qp_2rst = 0x50a,
  query_qp = 0x50b,
  init2init_qp = 0x50e,
  query_hca_vport_context = 0x762,
};

enum class Status : uint8_t { ok = 0, bad_opcode = 2, bad_parameter = 3, bad_resource_state = 9 };

// Every command begins with these, and every answer.
inline constexpr Field kOpcode = {0x00, 16};
inline constexpr Field kOpMod = {0x30, 16};
inline constexpr Field kStatus = {0x00, 8};
inline constexpr Field kNumber = {0x48, 24};  ///< of the object that was created

inline Opcode opcode_of(const Input& command) { return static_cast<Opcode>(command.get(kOpcode)); }

/// The firmware says no: the answer tells why, and errno is EREMOTEIO.
[[noreturn]] inline void refuse(Output& answer, Status status) {
  answer.set(kStatus, static_cast<uint32_t>(status));
  verbs::refuse(EREMOTEIO);
}

namespace cqc {
inline constexpr Field dbr_umem_valid = {0x06, 1};
inline constexpr Field cqe_sz = {0x08, 3};
inline constexpr Field cc = {0x0b, 1};
inline constexpr Field oi = {0x0e, 1};
inline constexpr Field dbr_umem_id = {0x20, 32};
inline constexpr Field log_cq_size = {0x63, 5};
inline constexpr Field uar_page = {0x68, 24};
inline constexpr Field64 dbr_addr = {0x1c0};
}  // namespace cqc

namespace create_cq {
inline constexpr uint32_t cqc = 0x80;
inline constexpr Field64 umem_offset = {0x280};
inline constexpr Field umem_id = {0x2c0, 32};
inline constexpr Field umem_valid = {0x2e0, 1};
}  // namespace create_cq

namespace qpc {
inline constexpr Field state = {0x00, 4};
inline constexpr Field st = {0x08, 8};
inline constexpr Field pd = {0x28, 24};
inline constexpr Field mtu = {0x40, 3};
inline constexpr Field log_rq_size = {0x49, 4};
inline constexpr Field log_rq_stride = {0x4d, 3};
inline constexpr Field no_sq = {0x50, 1};
inline constexpr Field log_sq_size = {0x51, 4};
inline constexpr Field uar_page = {0x68, 24};
inline constexpr Field user_index = {0x88, 24};
inline constexpr Field remote_qpn = {0xa8, 24};
inline constexpr Field pkey_index = {0xd0, 16};
inline constexpr Field grh = {0xe8, 1};
inline constexpr Field rlid = {0xf0, 16};
inline constexpr Field ack_timeout = {0x100, 5};
inline constexpr Field vhca_port_num = {0x1e8, 8};
inline constexpr Field log_sra_max = {0x388, 3};
inline constexpr Field retry_count = {0x38d, 3};
inline constexpr Field rnr_retry = {0x390, 3};
inline constexpr Field next_send_psn = {0x3c8, 24};
inline constexpr Field cqn_snd = {0x3e8, 24};
inline constexpr Field log_rra_max = {0x488, 3};
inline constexpr Field rre = {0x490, 1};
inline constexpr Field rwe = {0x491, 1};
inline constexpr Field rae = {0x492, 1};
inline constexpr Field min_rnr_nak = {0x4a3, 5};
inline constexpr Field next_rcv_psn = {0x4a8, 24};
inline constexpr Field cqn_rcv = {0x4e8, 24};
inline constexpr Field64 dbr_addr = {0x500};
inline constexpr Field q_key = {0x540, 32};
inline constexpr Field rq_type = {0x565, 3};
inline constexpr Field srqn = {0x568, 24};
inline constexpr Field dbr_umem_valid = {0x683, 1};
inline constexpr Field dbr_umem_id = {0x720, 32};
}  // namespace qpc

/// Where the queue pair's context lies in CREATE_QP, in what modifies and in QUERY_QP's answer.
inline constexpr uint32_t kQpc = 0xc0;

namespace create_qp {
inline constexpr Field64 umem_offset = {0x800};
inline constexpr Field umem_id = {0x840, 32};
inline constexpr Field umem_valid = {0x860, 1};
}  // namespace create_qp

namespace mkc {
inline constexpr Field access_mode_4_2 = {0x03, 3};
inline constexpr Field umr_en = {0x10, 1};
inline constexpr Field atomic = {0x11, 1};
inline constexpr Field remote_write = {0x12, 1};
inline constexpr Field remote_read = {0x13, 1};
inline constexpr Field local_write = {0x14, 1};
inline constexpr Field access_mode_1_0 = {0x16, 2};
inline constexpr Field pd = {0x68, 24};
inline constexpr Field64 start_addr = {0x80};
inline constexpr Field64 len = {0xc0};
}  // namespace mkc

namespace create_mkey {
inline constexpr Field umem_valid = {0x61, 1};
inline constexpr uint32_t mkc = 0x80;
inline constexpr Field umem_id = {0x320, 32};
inline constexpr Field64 umem_offset = {0x340};
inline constexpr uint32_t kAccessModeMtt = 1;
}  // namespace create_mkey

}  // namespace ringer::sim::verbs::prm
