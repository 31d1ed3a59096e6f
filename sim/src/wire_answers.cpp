// SPDX-License-Identifier: Apache-2.0
// The requester hears: answers become completions. Links lose nothing and keep order; what is lost
// nevertheless is lost with a queue pair or a process, and then somebody says so: packets are sent
// again where the responder was not ready, had missed some, or was not there.
#include <algorithm>

#include "wire_engine.hpp"
#include "wire_opcodes.hpp"

namespace ringer::sim {

namespace {

using mlx5::Syndrome;

constexpr uint64_t kPollNs = 1'000'000;  // between tries that nothing counts

// InfiniBand volume 1, table 46: RNR NAK timer field, in units of 10 us.
constexpr uint32_t kRnrTimer[32] = {65536, 1,    2,    3,     4,     6,     8,     12,
                                    16,    24,   32,   48,    64,    96,    128,   192,
                                    256,   384,  512,  768,   1024,  1536,  2048,  3072,
                                    4096,  6144, 8192, 12288, 16384, 24576, 32768, 49152};

}  // namespace

// A receive that a message has taken and not filled completes as flushed.
void WireEngine::flush_incoming(NicQueuePair& qp) {
  IncomingMessage& m = qp.wire->incoming;
  if (m.has_receive) {
    NicExecutor::CqeFields fields{
        mlx5::CqeOpcode::responder_error,        m.receive_index, qp.qpn, 0, {},
        static_cast<uint32_t>(Syndrome::flushed)};
    fields.user_index = m.user_index;
    NicExecutor::write_cqe(nic_, qp, *m.cq, fields);
  }
  m.open = m.has_receive = false;
}

// What was sent from `psn` on is to be sent again, beginning with the WQE at `index`.
void WireEngine::rewind_to(NicQueuePair& qp, uint64_t index, uint32_t psn) {
  WireQueuePair& wire = *qp.wire;
  for (; !wire.sent.empty() && wire.sent.back().index >= index; wire.sent.pop_back()) {
    wire.reads -= wire.sent.back().returns ? 1 : 0;
  }
  wire.message.open = false;
  wire.next_psn = psn;
  ++wire.attempt;
  qp.sq_ci = qp.fetched = index;
  nic_.activate(qp);
}

void WireEngine::try_again(NicQueuePair& qp, uint32_t psn, uint64_t wait_ns, uint8_t& left,
                           bool endless, Syndrome exceeded) {
  WireQueuePair& wire = *qp.wire;
  if (!acknowledge(qp, (psn - 1) & kPsnMask)) return;
  const bool in_message = wire.sent.empty();
  if (in_message && !wire.message.open) return;
  const SentWqe& oldest = in_message ? wire.message.sent : wire.sent.front();
  if (!endless && left == 0) return fail_at(qp, oldest.first_psn, exceeded);
  if (!endless) --left;
  rewind_to(qp, oldest.index, oldest.first_psn);
  wire.resume_ns = now_ns() + wait_ns;
}

void WireEngine::nobody_there(NicQueuePair& qp) {
  WireQueuePair& wire = *qp.wire;
  const uint8_t timeout = wire.attributes.timeout;
  const uint64_t wait_ns =
      timeout == 0 ? kPollNs : uint64_t{4096} << std::min<uint8_t>(timeout, 31);
  const uint32_t psn =
      wire.sent.empty() ? wire.message.sent.first_psn : wire.sent.front().first_psn;
  try_again(qp, psn, wait_ns, wire.retries_left, timeout == 0, Syndrome::retry_exceeded);
}

void WireEngine::forget_process(uint32_t process) {
  for (const auto& [qpn, qp] : nic_.wired_) {
    const WireQueuePair& wire = *qp->wire;
    const bool waits = !wire.sent.empty() || wire.message.open;
    if (waits && wire.attributes.remote_qpn >> 16 == process) nobody_there(*qp);
  }
}

void WireEngine::fail_at(NicQueuePair& qp, uint32_t psn, Syndrome syndrome) {
  WireQueuePair& wire = *qp.wire;
  if (wire.sent.empty() && !wire.message.open) return;
  const SentWqe failed = wire.sent.empty() ? wire.message.sent : wire.sent.front();
  rewind_to(qp, failed.index, psn);
  executor_.fail(qp, syndrome);
  qp.sq_ci += failed.wqebbs - 1;
  qp.fetched = qp.sq_ci;
}

void WireEngine::enter_error(NicQueuePair& qp) {
  WireQueuePair& wire = *qp.wire;
  wire.attributes.state = QueuePairState::error;
  flush_incoming(qp);
  if (qp.receive != &qp.own_receive && wire.setup.events != nullptr) {
    wire.setup.events->async(AsyncEvent::last_wqe_reached, wire.setup.cookie);
  }
  if (!wire.sent.empty() || wire.message.open) {
    const SentWqe& oldest = wire.sent.empty() ? wire.message.sent : wire.sent.front();
    rewind_to(qp, oldest.index, oldest.first_psn);
  }
  if (qp.sq_ci != qp.sq_pi) nic_.activate(qp);
}

// Everything up to `psn` has arrived, and has been done but for what READs and atomics return.
// False if the queue pair is in error afterwards: its completion queue had no room.
bool WireEngine::acknowledge(NicQueuePair& qp, uint32_t psn) {
  WireQueuePair& wire = *qp.wire;
  while (!wire.sent.empty() && compare_psn(wire.sent.front().last_psn, psn) <= 0) {
    if (wire.sent.front().returns &&
        wire.sent.front().received_bytes < wire.sent.front().returned_bytes) {
      break;
    }
    const SentWqe done = std::move(wire.sent.front());
    wire.sent.pop_front();
    wire.reads -= done.returns ? 1 : 0;
    wire.retries_left = wire.attributes.retry_count;
    wire.rnr_retries_left = wire.attributes.rnr_retry;
    if (done.signaled) executor_.complete(qp, done.index, done.opcode, done.returned_bytes);
    if (qp.state != NicQueuePair::State::ready) return false;
  }
  tell_if_drained(qp);
  return true;
}

void WireEngine::tell_if_drained(NicQueuePair& qp) {
  WireQueuePair& wire = *qp.wire;
  if (wire.attributes.state != QueuePairState::sqd || wire.drained || !wire.sent.empty() ||
      wire.message.open) {
    return;
  }
  wire.drained = true;
  if (wire.attributes.tell_when_drained && wire.setup.events != nullptr) {
    wire.setup.events->async(AsyncEvent::sq_drained, wire.setup.cookie);
  }
}

void WireEngine::take_returned(NicQueuePair& qp, uint32_t psn, const uint8_t* data, uint32_t bytes,
                               bool last) {
  WireQueuePair& wire = *qp.wire;
  if (!acknowledge(qp, (psn - 1) & kPsnMask) || wire.sent.empty()) return;
  SentWqe& oldest = wire.sent.front();
  if (!oldest.returns || compare_psn(psn, oldest.first_psn) < 0 ||
      compare_psn(psn, oldest.last_psn) > 0 ||
      bytes > oldest.returned_bytes - oldest.received_bytes) {
    return;
  }
  PieceCursor cursor{oldest.scatter.data(), static_cast<uint32_t>(oldest.scatter.size())};
  cursor.skip(oldest.received_bytes);
  cursor.copy_from(data, bytes);
  oldest.received_bytes += bytes;
  if (last) acknowledge(qp, psn);
}

void WireEngine::take_nak(NicQueuePair& qp, uint32_t psn, uint8_t syndrome) {
  WireQueuePair& wire = *qp.wire;
  if ((syndrome & 0x60) == kRnrSyndrome) {
    const uint64_t wait_ns = uint64_t{kRnrTimer[syndrome & 0x1f]} * 10'000;
    // 7 is InfiniBand's "retry for ever".
    return try_again(qp, psn, wait_ns, wire.rnr_retries_left, wire.attributes.rnr_retry == 7,
                     Syndrome::rnr_retry_exceeded);
  }
  if (syndrome == kNakSequence) {
    return try_again(qp, psn, 0, wire.retries_left, false, Syndrome::retry_exceeded);
  }
  if (!acknowledge(qp, (psn - 1) & kPsnMask)) return;
  Syndrome reason = Syndrome::remote_invalid_request;
  if (syndrome == kNakRemoteAccess) reason = Syndrome::remote_access;
  if (syndrome == kNakRemoteOperation) reason = Syndrome::remote_operation;
  fail_at(qp, psn, reason);
}

void WireEngine::take_answer(NicQueuePair& qp, Arrived& packet) {
  if (qp.state != NicQueuePair::State::ready) return;
  if (packet.base.opcode == kNobodyPacket) {
    if (packet.head.attempt == qp.wire->attempt) nobody_there(qp);
    return;
  }
  const PacketOp op = packet.op();
  AckHeader ack{};
  if (op != PacketOp::read_response_middle && !packet.rest.take(ack)) return;
  const auto syndrome = static_cast<uint8_t>(ack.syndrome_msn.value() >> 24);
  if (op == PacketOp::acknowledge) {
    if ((syndrome & 0x60) == 0) {
      acknowledge(qp, packet.psn());
      return;
    }
    return take_nak(qp, packet.psn(), syndrome);
  }
  if (op == PacketOp::atomic_acknowledge) {
    Be64 value;
    if (!packet.rest.take(value) || !acknowledge(qp, (packet.psn() - 1) & kPsnMask)) return;
    if (qp.wire->sent.empty() || !is_atomic(qp.wire->sent.front().opcode)) return;
    const uint64_t host = value.value();
    return take_returned(qp, packet.psn(), reinterpret_cast<const uint8_t*>(&host),
                         qp.wire->sent.front().returned_bytes, true);
  }
  const bool last = op == PacketOp::read_response_last || op == PacketOp::read_response_only;
  take_returned(qp, packet.psn(), packet.rest.rest(), packet.rest.left(), last);
}

}  // namespace ringer::sim
