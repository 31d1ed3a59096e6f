// SPDX-License-Identifier: Apache-2.0
// `Wire` for mlx5: all that the ring protocol needs to know of the NIC's format.
#pragma once

#include <ringer/mlx5/cqe.hpp>
#include <ringer/mlx5/wqe.hpp>

namespace ringer::mlx5 {

/// The format parameter of SendQueue, CompletionQueue and Endpoint. Another NIC is another struct
/// with these names.
struct Wire {
  using Wqe = mlx5::Wqe;
  using Head = mlx5::WqeHead;
  using Cqe = mlx5::Cqe;
  using CqeTail = mlx5::CqeTail;
  using CqeOpcode = mlx5::CqeOpcode;

  RINGER_HD static constexpr uint32_t syndrome_of(Be32 error_word) {
    return mlx5::syndrome_of(error_word);
  }

  /// Elements of a doorbell record (mlx5dv MLX5_RCV_DBR, MLX5_SND_DBR).
  static constexpr uint32_t kDbrReceive = 0;
  static constexpr uint32_t kDbrSend = 1;
  /// Element of a completion queue's doorbell record that holds the consumer index.
  static constexpr uint32_t kCqDbrConsumer = 0;

  static constexpr uint32_t kMaxInlineBytes = mlx5::kMaxInlineBytes;
  /// Largest message that one WQE carries; ConnectX reports log_max_msg = 30.
  static constexpr uint64_t kMaxMessageBytes = uint64_t{1} << 30;
  /// Deepest ring that 16-bit indices can tell apart.
  static constexpr uint32_t kMaxSqWqebbs = 32768;

  /// Send element of the doorbell record: the low 16 bits of prod_idx.
  RINGER_HD static constexpr Be32 dbr_value(uint64_t prod_idx) {
    return Be32::of(static_cast<uint32_t>(prod_idx & 0xffff));
  }

  /// The consumer index as a completion queue's doorbell record holds it (24 bits).
  RINGER_HD static constexpr Be32 cq_dbr_value(uint64_t cons_idx) {
    return Be32::of(static_cast<uint32_t>(cons_idx & 0xffffff));
  }

  /// The 8 bytes stored to the UAR: {BE32 prod_idx << 8, BE32 qpn << 8}.
  RINGER_HD static constexpr uint64_t doorbell_value(uint64_t prod_idx, Qpn qpn) {
    const uint64_t low = Be32::of(static_cast<uint32_t>(prod_idx & 0xffff) << 8).raw;
    const uint64_t high = Be32::of(qpn << 8).raw;
    return low | (high << 32);
  }

  /// Control flags of a WQE that asks for a CQE, or not.
  RINGER_HD static constexpr uint8_t signal_flags(bool signaled) {
    return signaled ? ctrl_flag::cq_update : uint8_t{0};
  }

  // The builders. Every WQE built here is exactly one basic block; a test compares each one with
  // rdma-core's own mlx5dv_set_*.

  /// ctrl, raddr, data. A zero-length transfer carries no data segment, as rdma-core posts it.
  RINGER_HD static Wqe make_rdma(const Head& head, Opcode opcode, const LocalRef& local,
                                 const RemoteRef& remote, uint32_t bytes, uint32_t imm = 0) {
    Wqe wqe;
    put_ctrl(wqe, head, opcode, bytes == 0 ? 2 : 3, 0, imm);
    wqe.put(1, make_raddr(remote));
    if (bytes != 0) wqe.put(2, make_data(local, bytes));
    return wqe;
  }

  /// RDMA WRITE of `bytes` < 2 GiB from `local` to `remote`.
  RINGER_HD static Wqe make_write(const Head& head, const LocalRef& local, const RemoteRef& remote,
                                  uint32_t bytes) {
    return make_rdma(head, Opcode::rdma_write, local, remote, bytes);
  }

  /// RDMA WRITE that also consumes a receive WQE and delivers `imm` there.
  RINGER_HD static Wqe make_write_imm(const Head& head, const LocalRef& local,
                                      const RemoteRef& remote, uint32_t bytes, uint32_t imm) {
    return make_rdma(head, Opcode::rdma_write_imm, local, remote, bytes, imm);
  }

  /// RDMA READ of `bytes` < 2 GiB from `remote` into `local`.
  RINGER_HD static Wqe make_read(const Head& head, const LocalRef& local, const RemoteRef& remote,
                                 uint32_t bytes) {
    return make_rdma(head, Opcode::rdma_read, local, remote, bytes);
  }

  /// RDMA WRITE of 1 to 28 bytes carried in the WQE itself. Bytes after the payload are zero.
  RINGER_HD static Wqe make_write_inline(const Head& head, const void* data, uint32_t bytes,
                                         const RemoteRef& remote) {
    RINGER_ASSERT(bytes > 0 && bytes <= kMaxInlineBytes);
    Wqe wqe;
    const uint32_t inline_segments = (bytes + 4 + 15) / 16;
    put_ctrl(wqe, head, Opcode::rdma_write, 2 + inline_segments);
    wqe.put(1, make_raddr(remote));
    const Be32 header = Be32::of(bytes | kInlineFlag);
    std::memset(wqe.bytes + 32, 0, size_t{inline_segments} * 16);
    std::memcpy(wqe.bytes + 32, &header, 4);
    std::memcpy(wqe.bytes + 36, data, bytes);
    return wqe;
  }

  /// Inline RDMA WRITE of one 4- or 8-byte value.
  template <class T>
  RINGER_HD static Wqe make_write_value(const Head& head, T value, const RemoteRef& remote) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8);
    return make_write_inline(head, &value, sizeof(T), remote);
  }

  /// 8-byte fetch-and-add; the value before lands at `result` (8 bytes).
  RINGER_HD static Wqe make_fetch_add(const Head& head, uint64_t add, const LocalRef& result,
                                      const RemoteRef& remote) {
    Wqe wqe;
    put_ctrl(wqe, head, Opcode::atomic_fa, 4);
    wqe.put(1, make_raddr(remote));
    wqe.put(2, AtomicSeg{Be64::of(add), Be64::of(0)});
    wqe.put(3, make_data(result, 8));
    return wqe;
  }

  /// 8-byte compare-and-swap; the value before lands at `result` (8 bytes).
  RINGER_HD static Wqe make_compare_swap(const Head& head, uint64_t compare, uint64_t swap,
                                         const LocalRef& result, const RemoteRef& remote) {
    Wqe wqe;
    put_ctrl(wqe, head, Opcode::atomic_cs, 4);
    wqe.put(1, make_raddr(remote));
    wqe.put(2, AtomicSeg{Be64::of(swap), Be64::of(compare)});
    wqe.put(3, make_data(result, 8));
    return wqe;
  }

  /// 4-byte fetch-and-add as an extended (masked) atomic over one 32-bit field.
  RINGER_HD static Wqe make_fetch_add4(const Head& head, uint32_t add, const LocalRef& result,
                                       const RemoteRef& remote) {
    Wqe wqe;
    put_ctrl(wqe, head, Opcode::atomic_masked_fa, 4, kExtendedAtomic4);
    wqe.put(1, make_raddr(remote));
    wqe.put(2, MaskedFetchAdd4Seg{Be32::of(add), Be32::of(0), {0, 0}});
    wqe.put(3, make_data(result, 4));
    return wqe;
  }

  /// 4-byte compare-and-swap as an extended (masked) atomic with full masks.
  RINGER_HD static Wqe make_compare_swap4(const Head& head, uint32_t compare, uint32_t swap,
                                          const LocalRef& result, const RemoteRef& remote) {
    Wqe wqe;
    put_ctrl(wqe, head, Opcode::atomic_masked_cs, 4, kExtendedAtomic4);
    wqe.put(1, make_raddr(remote));
    wqe.put(2, MaskedCompareSwap4Seg{Be32::of(swap), Be32::of(compare), Be32::of(0xffffffffu),
                                     Be32::of(0xffffffffu)});
    wqe.put(3, make_data(result, 4));
    return wqe;
  }

  /// SEND of `bytes` < 2 GiB; lands in the peer's oldest posted receive buffer.
  RINGER_HD static Wqe make_send(const Head& head, const LocalRef& local, uint32_t bytes) {
    Wqe wqe;
    put_ctrl(wqe, head, Opcode::send, bytes == 0 ? 1 : 2);
    if (bytes != 0) wqe.put(1, make_data(local, bytes));
    return wqe;
  }

  RINGER_HD static Wqe make_nop(const Head& head) {
    Wqe wqe;
    put_ctrl(wqe, head, Opcode::nop, 1);
    return wqe;
  }
};

}  // namespace ringer::mlx5
