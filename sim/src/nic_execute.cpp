// SPDX-License-Identifier: Apache-2.0
// The engine's turn on one queue pair: fetch a WQE, check its control segment, execute it.
#include <algorithm>
#include <cstring>

#include "nic_executor.hpp"

namespace ringer::sim {

NicExecutor::~NicExecutor() {
  count(nic_.counters_.wqes, wqes_);
  count(nic_.counters_.cqes, cqes_);
  count(nic_.counters_.bytes_moved, bytes_);
}

void NicExecutor::prefetch(NicQueuePair& qp) {
  const uint64_t limit = std::min(qp.sq_pi, qp.sq_ci + NicQueuePair::kPrefetch);
  for (; qp.fetched < limit; ++qp.fetched) {
    std::memcpy(qp.prefetch[qp.fetched % NicQueuePair::kPrefetch],
                qp.rings.sq + size_t{slot_of(qp.fetched, qp.rings.sq_wqebbs)} * kWqebbBytes,
                kWqebbBytes);
  }
}

uint32_t NicExecutor::run(NicQueuePair& qp, uint32_t budget) {
  uint32_t done = 0;
  while (done < budget && qp.sq_ci != qp.sq_pi) {
    if (qp.state == NicQueuePair::State::error) {
      flush_one(qp);
      ++done;
      continue;
    }
    Fetched wqe;
    if (const Problem problem = fetch(qp, wqe)) {
      refuse(qp, qp.sq_ci, problem);
    } else {
      returned_bytes_ = 0;
      const Outcome outcome = execute(qp, wqe);
      if (outcome == Outcome::receiver_not_ready) {
        if (!retries_without_end(qp)) ++done;  // one retry fewer is progress
        break;
      }
      if (outcome == Outcome::completed) complete(qp, wqe);
      if (outcome == Outcome::failed) qp.sq_ci += wqe.wqebbs - 1;  // `fail` counted one block
    }
    ++done;
    ++wqes_;
  }
  return done;
}

NicExecutor::Problem NicExecutor::fetch(NicQueuePair& qp, Fetched& wqe) {
  prefetch(qp);
  const uint8_t* copy = qp.prefetch[qp.sq_ci % NicQueuePair::kPrefetch];
  mlx5::CtrlSeg ctrl;
  std::memcpy(&ctrl, copy, sizeof(ctrl));
  const uint32_t word0 = ctrl.opmod_idx_opcode.value();
  const uint32_t word1 = ctrl.qpn_ds.value();
  wqe = {copy,
         qp.sq_ci,
         word1 & 0x3f,
         std::max(1u, ((word1 & 0x3f) * 16 + kWqebbBytes - 1) / kWqebbBytes),
         static_cast<mlx5::Opcode>(word0 & 0xff),
         static_cast<uint8_t>(word0 >> 24),
         (ctrl.fm_ce_se & 0x0c) == mlx5::ctrl_flag::cq_update,
         ctrl.imm};
  const auto refused = [](const char* what) {
    return Problem{mlx5::Syndrome::local_qp_operation, what};
  };
  if (((word0 >> 8) & 0xffff) != (qp.sq_ci & 0xffff)) {
    return {mlx5::Syndrome::local_qp_operation, "the control segment has another index",
            ViolationKind::wqe_index_mismatch};
  }
  if (word1 >> 8 != qp.qpn) return refused("another queue pair's number");
  if (wqe.segments == 0) return refused("no segments");
  if (qp.sq_ci + wqe.wqebbs > qp.sq_pi) return refused("more blocks than were announced");
  for (uint32_t i = 0; i < wqe.wqebbs; ++i) {
    const uint64_t index = qp.sq_ci + i;
    const uint8_t* live = qp.rings.sq + size_t{slot_of(index, qp.rings.sq_wqebbs)} * kWqebbBytes;
    const uint8_t* fetched = qp.prefetch[index % NicQueuePair::kPrefetch];
    if (std::memcmp(live, fetched, kWqebbBytes) != 0) {
      nic_.violations_.report({ViolationKind::wqe_changed, nic_.id_, qp.qpn, index,
                               "fetched" + dump_wqebb(fetched) + ", now" + dump_wqebb(live)});
    }
    if (wqe.wqebbs > 1) std::memcpy(wide_ + size_t{i} * kWqebbBytes, fetched, kWqebbBytes);
  }
  if (wqe.wqebbs > 1) wqe.bytes = wide_;
  return {};
}

NicExecutor::Outcome NicExecutor::execute(NicQueuePair& qp, const Fetched& wqe) {
  if (qp.state != NicQueuePair::State::ready)
    return malformed(qp, wqe.index, "queue pair not connected");
  switch (wqe.opcode) {
    case mlx5::Opcode::nop:
      return Outcome::completed;
    case mlx5::Opcode::rdma_write:
    case mlx5::Opcode::rdma_write_imm:
    case mlx5::Opcode::rdma_read:
      return execute_rdma(qp, wqe);
    case mlx5::Opcode::atomic_cs:
    case mlx5::Opcode::atomic_fa:
    case mlx5::Opcode::atomic_masked_cs:
    case mlx5::Opcode::atomic_masked_fa:
      return execute_atomic(qp, wqe);
    case mlx5::Opcode::send:
    case mlx5::Opcode::send_imm:
      return execute_send(qp, wqe);
    case mlx5::Opcode::send_invalidate:
    case mlx5::Opcode::local_invalidate:
    case mlx5::Opcode::umr:
      break;
  }
  return malformed(qp, wqe.index, "unknown opcode");
}

}  // namespace ringer::sim
