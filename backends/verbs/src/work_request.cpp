// SPDX-License-Identifier: Apache-2.0
#include "work_request.hpp"

#include <cstring>

namespace ringer::verbs {

using mlx5::Opcode;

namespace {

template <class Segment>
Segment segment(const uint8_t* wqe, uint32_t position) {
  Segment s;
  std::memcpy(&s, wqe + size_t{position} * sizeof(Segment), sizeof(s));
  return s;
}

void name_piece(const mlx5::DataSeg& data, Request& request) {
  request.piece = {data.addr.value(), data.byte_count.value(), data.lkey.value()};
  request.wr.sg_list = &request.piece;
  request.wr.num_sge = 1;
}

// The NIC would read inline data when it fetches the WQE; libibverbs does, or slots keep it.
bool take_inline(const uint8_t* wqe, uint32_t bytes, uint8_t* at, uint32_t lkey, bool takes_inline,
                 Request& request) {
  constexpr uint32_t kData = 36;
  if (bytes > mlx5::kMaxInlineBytes) return false;
  std::memcpy(at, wqe + kData, bytes);
  request.piece = {reinterpret_cast<uint64_t>(at), bytes, lkey};
  request.wr.sg_list = &request.piece;
  request.wr.num_sge = 1;
  if (takes_inline) request.wr.send_flags |= IBV_SEND_INLINE;
  return true;
}

}  // namespace

bool read_wqe(const uint8_t* wqe, uint8_t* inline_at, uint32_t inline_lkey, bool takes_inline,
              Request& request) {
  const auto ctrl = segment<mlx5::CtrlSeg>(wqe, 0);
  const auto raddr = segment<mlx5::RaddrSeg>(wqe, 1);
  const auto data = segment<mlx5::DataSeg>(wqe, 2);
  const uint32_t segments = ctrl.qpn_ds.value() & 0x3f;
  ibv_send_wr& wr = request.wr;
  wr = {};
  if ((ctrl.fm_ce_se & mlx5::ctrl_flag::cq_update) != 0) wr.send_flags |= IBV_SEND_SIGNALED;
  if ((ctrl.fm_ce_se & mlx5::ctrl_flag::solicited) != 0) wr.send_flags |= IBV_SEND_SOLICITED;
  wr.imm_data = ctrl.imm.raw;
  wr.wr.rdma.remote_addr = raddr.raddr.value();
  wr.wr.rdma.rkey = raddr.rkey.value();
  const auto name_rest = [&] {
    if (segments < 3) return true;
    const uint32_t bytes = data.byte_count.value();
    if ((bytes & mlx5::kInlineFlag) != 0) {
      return take_inline(wqe, bytes & ~mlx5::kInlineFlag, inline_at, inline_lkey, takes_inline,
                         request);
    }
    name_piece(data, request);
    return true;
  };
  const auto name_atomic = [&](ibv_wr_opcode opcode) {
    const auto operands = segment<mlx5::AtomicSeg>(wqe, 2);
    wr.opcode = opcode;
    wr.wr.atomic.remote_addr = raddr.raddr.value();
    wr.wr.atomic.rkey = raddr.rkey.value();
    const bool adds = opcode == IBV_WR_ATOMIC_FETCH_AND_ADD;
    wr.wr.atomic.compare_add = adds ? operands.swap_add.value() : operands.compare.value();
    wr.wr.atomic.swap = adds ? 0 : operands.swap_add.value();
    name_piece(segment<mlx5::DataSeg>(wqe, 3), request);
    return segments == 4;
  };
  switch (static_cast<Opcode>(ctrl.opmod_idx_opcode.value() & 0xff)) {
    case Opcode::rdma_write:
      wr.opcode = IBV_WR_RDMA_WRITE;
      return name_rest();
    case Opcode::rdma_write_imm:
      wr.opcode = IBV_WR_RDMA_WRITE_WITH_IMM;
      return name_rest();
    case Opcode::rdma_read:
      wr.opcode = IBV_WR_RDMA_READ;
      return name_rest();
    case Opcode::atomic_fa:
      return name_atomic(IBV_WR_ATOMIC_FETCH_AND_ADD);
    case Opcode::atomic_cs:
      return name_atomic(IBV_WR_ATOMIC_CMP_AND_SWP);
    case Opcode::send:
      wr.opcode = IBV_WR_SEND;
      if (segments > 1) name_piece(segment<mlx5::DataSeg>(wqe, 1), request);
      return segments <= 2;
    case Opcode::nop:
      // Nothing in libibverbs does nothing; a WRITE of no bytes looks at no key.
      wr.opcode = IBV_WR_RDMA_WRITE;
      wr.wr.rdma = {};
      return true;
    default:
      return false;
  }
}

}  // namespace ringer::verbs
