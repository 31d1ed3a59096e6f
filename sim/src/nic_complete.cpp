// SPDX-License-Identifier: Apache-2.0
// How a WQE ends: a CQE, or an error, after which the queue pair is flushed.
#include <algorithm>
#include <atomic>
#include <cstring>

#include "nic_executor.hpp"
#include "wire_engine.hpp"

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
  if (wqe.signaled) complete(qp, wqe.index, wqe.opcode, returned_bytes_);
}

void NicExecutor::complete(NicQueuePair& qp, uint64_t index, mlx5::Opcode opcode,
                           uint32_t returned_bytes) {
  const CqeFields fields{mlx5::CqeOpcode::requester,
                         index,
                         (static_cast<uint32_t>(opcode) << 24) | qp.qpn,
                         returned_bytes,
                         {},
                         0};
  if (write_cqe(nic_, qp, *qp.send_cq, fields)) ++cqes_;
}

NicExecutor::Outcome NicExecutor::malformed(NicQueuePair& qp, uint64_t index, const char* what,
                                            ViolationKind kind) {
  nic_.violations_.report(
      {kind, nic_.id_, qp.qpn, index,
       std::string(what) + ":" + dump_wqebb(qp.prefetch[index % NicQueuePair::kPrefetch])});
  return refuse(qp, mlx5::Syndrome::local_qp_operation);
}

NicExecutor::Outcome NicExecutor::refuse(NicQueuePair& qp, uint64_t index, const Problem& problem) {
  if (problem.malformed != nullptr) return malformed(qp, index, problem.malformed, problem.kind);
  return refuse(qp, problem.syndrome);
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
  if (qp.wire) WireEngine(nic_, *this).enter_error(qp);
  if (qp.own_receive.ring.count == 0) return;
  nic_.flushing_.push_back(&qp);
  flush_receives(qp);
}

// A receive queue in error has no doorbell of its own: its record is looked at in each turn.
void NicExecutor::flush_receives(NicQueuePair& qp) {
  while (qp.own_receive.ready() && qp.receive_cq->has_room()) {
    const CqeFields fields{mlx5::CqeOpcode::responder_error,
                           qp.own_receive.take().index,
                           qp.qpn,
                           0,
                           {},
                           static_cast<uint32_t>(mlx5::Syndrome::flushed)};
    write_cqe(nic_, qp, *qp.receive_cq, fields);
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
  if (write_cqe(nic_, qp, *qp.send_cq, fields)) {
    count(nic_.counters_.error_cqes, 1);
  }
}

// The tail word goes last and releases the rest; pairs with the poller's acquire. The other words
// are stored as atomics because a collapsed CQE is rewritten under its readers. False: the queue is
// full.
bool NicExecutor::write_cqe(Nic& nic, NicQueuePair& qp, NicCompletionQueue& cq,
                            const CqeFields& fields) {
  if (!cq.has_room()) {
    if (qp.state != NicQueuePair::State::error) {
      nic.violations_.report({ViolationKind::cq_overrun, nic.id_, qp.qpn, cq.pi,
                              "no room in " + std::to_string(cq.ring.count) + " CQEs"});
      if (cq.events != nullptr) cq.events->async(AsyncEvent::cq_error, cq.cookie);
      NicExecutor(nic).enter_error(qp);
    }
    return false;
  }
  mlx5::Cqe& cqe = cq.slot(cq.pi);
  const mlx5::CqeTail tail{static_cast<uint16_t>(fields.index), fields.opcode,
                           (cq.pi & cq.ring.count) != 0};
  uint32_t time_or_error = 0;  // they share a word
  const auto put = [](Be32& word, Be32 value) {
    std::atomic_ref(word.raw).store(value.raw, std::memory_order_relaxed);
  };
  if (qp.wire) {
    cqe.slid = Be16::of(fields.slid);
    put(cqe.flags_rqpn, Be32::of(fields.flags_rqpn));
    put(cqe.srqn_uidx,
        Be32::of(fields.user_index == kOwnUser ? qp.wire->setup.user_index : fields.user_index));
    const uint64_t now = now_ns();
    put(cqe.timestamp_hi, Be32::of(static_cast<uint32_t>(now >> 32)));
    time_or_error = static_cast<uint32_t>(now);
  }
  if (tail.is_error() || !qp.wire) time_or_error = fields.error_word;
  put(cqe.imm, fields.imm);
  put(cqe.byte_cnt, Be32::of(fields.byte_cnt));
  put(cqe.error_word, Be32::of(time_or_error));
  put(cqe.opcode_qpn, Be32::of(fields.opcode_qpn));
  std::atomic_ref(cqe.tail.raw).store(tail.word().raw, std::memory_order_release);
  ++cq.pi;
  cq.signal(fields.solicited || tail.is_error());
  return true;
}

}  // namespace ringer::sim
