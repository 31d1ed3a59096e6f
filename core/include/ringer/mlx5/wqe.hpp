// SPDX-License-Identifier: Apache-2.0
// mlx5 send work queue segments, retyped from the PRM and <infiniband/mlx5dv.h>.
#pragma once

#include <cstdint>
#include <cstring>

#include <ringer/types.hpp>

namespace ringer::mlx5 {

/// mlx5dv MLX5_OPCODE_*.
enum class Opcode : uint8_t {
  nop = 0x00,
  send_invalidate = 0x01,
  rdma_write = 0x08,
  rdma_write_imm = 0x09,
  send = 0x0a,
  send_imm = 0x0b,
  rdma_read = 0x10,
  atomic_cs = 0x11,
  atomic_fa = 0x12,
  atomic_masked_cs = 0x14,
  atomic_masked_fa = 0x15,
  local_invalidate = 0x1b,
  umr = 0x25,
};

/// Bits of the control segment's byte 11, mlx5dv MLX5_WQE_CTRL_*.
namespace ctrl_flag {
inline constexpr uint8_t solicited = 0x02;
inline constexpr uint8_t cq_update = 0x08;
inline constexpr uint8_t initiator_small_fence = 1 << 5;
inline constexpr uint8_t fence = 4 << 5;
}  // namespace ctrl_flag

/// Opmod of an extended atomic on 4-byte operands (PRM: bit 3 marks "extended", low bits log2 - 2).
inline constexpr uint8_t kExtendedAtomic4 = 0x08;
/// The same for 8-byte operands.
inline constexpr uint8_t kExtendedAtomic8 = 0x09;

/// Bit 31 of a byte count marks inline data, so no data segment may carry 2 GiB or more.
inline constexpr uint32_t kInlineFlag = 0x80000000u;
/// The lkey that ends the data segments of a receive WQE, mlx5dv MLX5_INVALID_LKEY.
inline constexpr uint32_t kInvalidKey = 0x100;
/// Most payload bytes that fit into a one-block inline WRITE: 64 - ctrl 16 - raddr 16 - header 4.
inline constexpr uint32_t kMaxInlineBytes = 28;

struct CtrlSeg {
  Be32 opmod_idx_opcode;  ///< opmod << 24 | low 16 bits of the WQE's index << 8 | opcode
  Be32 qpn_ds;            ///< qpn << 8 | number of 16-byte segments, this one included
  uint8_t signature;
  uint8_t reserved[2];
  uint8_t fm_ce_se;
  Be32 imm;
};

struct RaddrSeg {
  Be64 raddr;
  Be32 rkey;
  uint32_t reserved;
};

struct DataSeg {
  Be32 byte_count;
  Be32 lkey;
  Be64 addr;
};

struct AtomicSeg {
  Be64 swap_add;
  Be64 compare;
};

/// Masked 4-byte fetch-and-add operands; `boundary` marks the top bit of each field, 0 = one field.
struct MaskedFetchAdd4Seg {
  Be32 add;
  Be32 boundary;
  uint32_t reserved[2];
};

/// Masked 4-byte compare-and-swap operands.
struct MaskedCompareSwap4Seg {
  Be32 swap;
  Be32 compare;
  Be32 swap_mask;
  Be32 compare_mask;
};

/// Where a datagram goes; the form with bit 31 of `dqp_dct` set, else its first 16 bytes only.
struct AddressVector {
  Be32 qkey;
  uint32_t reserved4;
  Be32 dqp_dct;  ///< queue pair; bit 31: the extended form
  uint8_t stat_rate_sl;
  uint8_t fl_mlid;
  Be16 rlid;
  uint8_t reserved16[4];
  uint8_t rmac[6];
  uint8_t tclass;
  uint8_t hop_limit;
  Be32 grh_gid_fl;  ///< a GrhWord
  uint8_t rgid[16];
};

/// AddressVector::grh_gid_fl taken apart.
struct GrhWord {
  bool present;           ///< there is a global route header
  uint32_t source_index;  ///< of the GID that it comes from
  uint32_t flow_label;

  static constexpr GrhWord of(Be32 word) {
    const uint32_t v = word.value();
    return {(v & (1u << 30)) != 0, (v >> 20) & 0xff, v & 0xfffff};
  }
};

/// First part of a memory key update (UMR); here as libmlx5 binds memory windows by it.
struct UmrControlSeg {
  uint8_t flags;  ///< kUmrInline, kUmrCheckFree
  uint8_t reserved[3];
  Be16 klm_octowords;
  Be16 translation_offset;
  Be64 mkey_mask;
  uint8_t reserved16[32];
};
inline constexpr uint8_t kUmrCheckFree = 1 << 5;

/// What a memory key becomes.
struct MkeyContextSeg {
  uint8_t free;  ///< kMkeyFree: it allows nothing from now on
  uint8_t reserved1;
  uint8_t access_flags;  ///< bits 3 to 6: local write, remote read, remote write, atomic
  uint8_t sf;
  Be32 qpn_mkey;  ///< bits 7 to 0: the key's new low byte
  uint32_t reserved8;
  Be32 flags_pd;
  Be64 start_addr;
  Be64 len;
  uint32_t reserved32[8];
};
inline constexpr uint8_t kMkeyFree = 1 << 6;

/// The memory behind it, up to 2 GiB.
struct KlmSeg {
  Be32 byte_count;
  Be32 mkey;
  Be64 address;
};

static_assert(sizeof(UmrControlSeg) == 48 && sizeof(MkeyContextSeg) == 64 && sizeof(KlmSeg) == 16);
static_assert(sizeof(AddressVector) == 48);
static_assert(sizeof(CtrlSeg) == 16 && sizeof(RaddrSeg) == 16 && sizeof(DataSeg) == 16);
static_assert(sizeof(AtomicSeg) == 16 && sizeof(MaskedFetchAdd4Seg) == 16);
static_assert(sizeof(MaskedCompareSwap4Seg) == 16);

/// One basic block as it lies in the send queue. `segments` of its 16-byte pieces are meaningful.
struct alignas(64) Wqe {
  uint8_t bytes[kWqebbBytes];
  uint32_t segments;

  template <class Seg>
  RINGER_HD void put(uint32_t position, const Seg& segment) {
    static_assert(sizeof(Seg) == 16);
    RINGER_ASSERT(position < 4);
    std::memcpy(bytes + position * 16, &segment, 16);
  }
};

/// What a WQE says besides its operands: its own index, its queue pair and the control flags.
struct WqeHead {
  uint64_t index;
  Qpn qpn;
  uint8_t fm_ce_se = 0;
};

RINGER_HD inline void put_ctrl(Wqe& wqe, const WqeHead& head, Opcode opcode, uint32_t segments,
                               uint8_t opmod = 0, uint32_t imm = 0) {
  CtrlSeg ctrl{};
  ctrl.opmod_idx_opcode =
      Be32::of((uint32_t{opmod} << 24) | (static_cast<uint32_t>(head.index & 0xffff) << 8) |
               static_cast<uint32_t>(opcode));
  ctrl.qpn_ds = Be32::of((head.qpn << 8) | segments);
  ctrl.fm_ce_se = head.fm_ce_se;
  ctrl.imm = Be32::of(imm);
  wqe.put(0, ctrl);
  wqe.segments = segments;
}

RINGER_HD inline RaddrSeg make_raddr(const RemoteRef& remote) {
  return {Be64::of(remote.address), Be32::of(remote.rkey), 0};
}

RINGER_HD inline DataSeg make_data(const LocalRef& local, uint32_t bytes) {
  RINGER_ASSERT((bytes & kInlineFlag) == 0);
  return {Be32::of(bytes), Be32::of(local.lkey), Be64::of(local.address)};
}

}  // namespace ringer::mlx5
