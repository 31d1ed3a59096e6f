// SPDX-License-Identifier: Apache-2.0
// Firmware commands of mlx5 devices, as DEVX takes them: big-endian records of bit fields. Retyped
// from the programmer's reference manual; names are its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <ringer/types.hpp>

namespace ringer::mlx5::prm {

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

/// A record of `kBytes`, all zeros at first.
template <size_t kBytes>
class Record {
 public:
  void set(Field field, uint32_t value) {
    Be32 word = word_at(field.bit / 32);
    const uint32_t mask = mask_of(field) << shift_of(field);
    word = Be32::of((word.value() & ~mask) | ((value << shift_of(field)) & mask));
    std::memcpy(bytes_ + size_t{field.bit / 32} * 4, &word, 4);
  }
  void set(Field64 field, uint64_t value) {
    set(Field{field.bit, 32}, static_cast<uint32_t>(value >> 32));
    set(Field{field.bit + 32, 32}, static_cast<uint32_t>(value));
  }
  uint32_t get(Field field) const {
    return (word_at(field.bit / 32).value() >> shift_of(field)) & mask_of(field);
  }
  uint8_t* data() { return bytes_; }
  const uint8_t* data() const { return bytes_; }
  static constexpr size_t size() { return kBytes; }

 private:
  Be32 word_at(uint32_t index) const {
    Be32 word;
    std::memcpy(&word, bytes_ + size_t{index} * 4, 4);
    return word;
  }
  uint8_t bytes_[kBytes] = {};
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
  create_rmp = 0x90c,
};

enum class Status : uint8_t { ok = 0, bad_opcode = 2, bad_parameter = 3, bad_resource_state = 9 };

// Every command begins with these, and every answer.
inline constexpr Field kOpcode = {0x00, 16};
inline constexpr Field kOpMod = {0x30, 16};
inline constexpr Field kStatus = {0x00, 8};
inline constexpr Field kSyndrome = {0x20, 32};
inline constexpr Field kNumber = {0x48, 24};  ///< of the object that was created

namespace cqc {
inline constexpr Field dbr_umem_valid = {0x06, 1};
inline constexpr Field cqe_sz = {0x08, 3};
inline constexpr Field cc = {0x0b, 1};
inline constexpr Field oi = {0x0e, 1};
inline constexpr Field c_eqn = {0xa0, 32};
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
inline constexpr Field pm_state = {0x13, 2};
inline constexpr Field pd = {0x28, 24};
inline constexpr Field mtu = {0x40, 3};
inline constexpr Field log_msg_max = {0x43, 5};
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
inline constexpr Field src_addr_index = {0x108, 8};
inline constexpr Field hop_limit = {0x118, 8};
inline constexpr Field tclass = {0x124, 8};
inline constexpr Field rgid = {0x140, 32};  ///< the first of four
inline constexpr Field udp_sport = {0x1d0, 16};
inline constexpr Field eth_prio = {0x1e1, 3};
inline constexpr Field sl = {0x1e4, 4};
inline constexpr Field vhca_port_num = {0x1e8, 8};
inline constexpr Field rmac_47_32 = {0x1f0, 16};
inline constexpr Field rmac_31_0 = {0x200, 32};
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

namespace modify_qp {
inline constexpr Field qpn = {0x48, 24};
inline constexpr size_t kBytes = 272;
}  // namespace modify_qp

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

namespace wq {
inline constexpr Field wq_type = {0x00, 4};
inline constexpr Field pd = {0x48, 24};
inline constexpr Field64 dbr_addr = {0x80};
inline constexpr Field log_wq_stride = {0x10c, 4};
inline constexpr Field log_wq_sz = {0x11b, 5};
inline constexpr Field dbr_umem_valid = {0x120, 1};
inline constexpr Field wq_umem_valid = {0x121, 1};
inline constexpr Field dbr_umem_id = {0x140, 32};
inline constexpr Field wq_umem_id = {0x160, 32};
inline constexpr Field64 wq_umem_offset = {0x180};
}  // namespace wq

namespace create_rmp {
inline constexpr uint32_t rmpc = 0x100;
inline constexpr Field state = {rmpc + 0x08, 4};
inline constexpr Field basic_cyclic_rcv_wqe = {rmpc + 0x20, 1};
inline constexpr uint32_t wq = rmpc + 0x180;
inline constexpr uint32_t kReady = 1;
inline constexpr uint32_t kLinkedList = 0;
inline constexpr uint32_t kCyclic = 1;
}  // namespace create_rmp

}  // namespace ringer::mlx5::prm
