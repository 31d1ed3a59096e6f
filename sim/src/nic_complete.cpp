// SPDX-License-Identifier: Apache-2.0
// How a WQE ends: a CQE, or an error, after which the queue pair is flushed.
#include <algorithm>
#include <atomic>
#include <cstring>

#include "nic_executor.hpp"

namespace ringer::sim {

std::string dump_wqebb(const uint8_t* bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (uint32_t i = 0; i < kWqebbBytes; ++i) {
    if (i % 16 == 0) text += ' ';
    text += kDigits[bytes[i] >> 4];
    text += kDigits[bytes[i] & 0xf];
  }
  return text;
}

void NicExecutor::complete(NicQueuePair& qp, const Fetched& wqe) {
  qp.sq_ci += wqe.wqebbs;
  if (!wqe.signaled) return;
  const CqeFields fields{mlx5::CqeOpcode::requester,
                         wqe.index,
                         (static_cast<uint32_t>(wqe.opcode) << 24) | qp.qpn,
                         returned_bytes_,
                         {},
                         0};
  if (write_cqe(nic_, qp, qp.rings.send_cq, qp.send_cq_pi, fields)) ++cqes_;
}

NicExecutor::Outcome NicExecutor::malformed(NicQueuePair& qp, uint64_t index, const char* what) {
  nic_.violations_.report(
      {ViolationKind::wqe_malformed, nic_.id_, qp.qpn, index,
       std::string(what) + ":" + dump_wqebb(qp.prefetch[index % NicQueuePair::kPrefetch])});
  return refuse(qp, mlx5::Syndrome::local_qp_operation);
}

NicExecutor::Outcome NicExecutor::refuse(NicQueuePair& qp, mlx5::Syndrome syndrome) {
  fail(qp, syndrome);
  return Outcome::failed;
}

// A responder that refuses a request goes to error itself (InfiniBand class C responder errors).
NicExecutor::Outcome NicExecutor::refuse_remotely(NicQueuePair& qp, NicQueuePair& responder,
                                                  mlx5::Syndrome syndrome) {
  NicExecutor(*qp.remote).enter_error(responder);
  return refuse(qp, syndrome);
}

void NicExecutor::fail(NicQueuePair& qp, mlx5::Syndrome syndrome) {
  if (qp.first_error == mlx5::Syndrome{}) {
    qp.first_error = syndrome;
    qp.first_error_index = qp.sq_ci;
  }
  report_error(qp, syndrome, qp.sq_ci);
  if (qp.sq_ci != qp.sq_pi) ++qp.sq_ci;
  enter_error(qp);
}

void NicExecutor::enter_error(NicQueuePair& qp) {
  if (qp.state == NicQueuePair::State::error) return;
  qp.state = NicQueuePair::State::error;
  if (qp.rings.rq_wqes == 0) return;
  nic_.flushing_.push_back(&qp);
  flush_receives(qp);
}

// A receive queue in error has no doorbell of its own: its record is looked at in each turn.
void NicExecutor::flush_receives(NicQueuePair& qp) {
  while (receive_ready(qp)) {
    const CqeFields fields{mlx5::CqeOpcode::responder_error,
                           qp.rq_ci,
                           qp.qpn,
                           0,
                           {},
                           static_cast<uint32_t>(mlx5::Syndrome::flushed)};
    ++qp.rq_ci;
    if (!write_cqe(nic_, qp, qp.rings.receive_cq, qp.receive_cq_pi, fields)) break;
  }
}

// Each WQE after the first error gets a CQE, signaled or not. Blocks that hold no WQE of their own
// are the tail of a multi-block one.
void NicExecutor::flush_one(NicQueuePair& qp) {
  const uint8_t* slot = qp.rings.sq + size_t{slot_of(qp.sq_ci, qp.rings.sq_wqebbs)} * kWqebbBytes;
  mlx5::CtrlSeg ctrl;
  std::memcpy(&ctrl, slot, sizeof(ctrl));
  const uint64_t index = qp.sq_ci;
  const uint32_t segments = ctrl.qpn_ds.value() & 0x3f;
  const uint64_t wqebbs = std::max(1u, (segments * 16 + kWqebbBytes - 1) / kWqebbBytes);
  qp.sq_ci += std::min(wqebbs, qp.sq_pi - qp.sq_ci);
  qp.fetched = std::max(qp.fetched, qp.sq_ci);
  report_error(qp, mlx5::Syndrome::flushed, index);
}

void NicExecutor::report_error(NicQueuePair& qp, mlx5::Syndrome syndrome, uint64_t index) {
  constexpr size_t kOpcodeByte = 3;
  const uint32_t opcode =
      qp.rings.sq[size_t{slot_of(index, qp.rings.sq_wqebbs)} * kWqebbBytes + kOpcodeByte];
  const CqeFields fields{mlx5::CqeOpcode::requester_error, index, (opcode << 24) | qp.qpn, 0, {},
                         static_cast<uint32_t>(syndrome)};
  if (write_cqe(nic_, qp, qp.rings.send_cq, qp.send_cq_pi, fields)) {
    count(nic_.counters_.error_cqes, 1);
  }
}

// The tail word goes last and releases the rest; pairs with the poller's acquire. The other words
// are stored as atomics because a collapsed CQE is rewritten under its readers. False: the queue is
// full.
bool NicExecutor::write_cqe(Nic& nic, NicQueuePair& qp, CqRing& cq, uint64_t& cq_pi,
                            const CqeFields& fields) {
  if (!cq.overrun_ignored && !cq.collapsed) {
    const Be32 consumer{std::atomic_ref(cq.dbr[mlx5::Wire::kCqDbrConsumer].raw)
                            .load(std::memory_order_acquire)};  // pairs with the poller's release
    if (((cq_pi - consumer.value()) & 0xffffff) >= cq.count) {
      if (qp.state != NicQueuePair::State::error) {
        nic.violations_.report({ViolationKind::cq_overrun, nic.id_, qp.qpn, cq_pi,
                                "consumer index " + std::to_string(consumer.value()) + ", " +
                                    std::to_string(cq.count) + " CQEs"});
        NicExecutor(nic).enter_error(qp);
      }
      return false;
    }
  }
  mlx5::Cqe& cqe = cq.cqes[cq.collapsed ? 0 : slot_of(cq_pi, cq.count)];
  const auto put = [](Be32& word, Be32 value) {
    std::atomic_ref(word.raw).store(value.raw, std::memory_order_relaxed);
  };
  put(cqe.imm, fields.imm);
  put(cqe.byte_cnt, Be32::of(fields.byte_cnt));
  put(cqe.error_word, Be32::of(fields.error_word));
  put(cqe.opcode_qpn, Be32::of(fields.opcode_qpn));
  const mlx5::CqeTail tail{static_cast<uint16_t>(fields.index), fields.opcode,
                           (cq_pi & cq.count) != 0};
  std::atomic_ref(cqe.tail.raw).store(tail.word().raw, std::memory_order_release);
  ++cq_pi;
  return true;
}

}  // namespace ringer::sim
