// SPDX-License-Identifier: Apache-2.0
// The responder: requests of peers, done in their order, and the answers that are owed for them.
#include <algorithm>
#include <cstring>

#include <ringer/control_plane.hpp>

#include "packet_links.hpp"
#include "wire_engine.hpp"
#include "wire_opcodes.hpp"

namespace ringer::sim {

namespace {

using mlx5::CqeOpcode;
using mlx5::Syndrome;

bool takes_packets(const NicQueuePair& qp) {
  const QueuePairState state = qp.wire->attributes.state;
  return state == QueuePairState::rtr || state == QueuePairState::rts ||
         state == QueuePairState::sqd || state == QueuePairState::sqe;
}

bool is_answer(uint8_t opcode) {
  const auto op = static_cast<PacketOp>(opcode & 0x1f);
  return opcode == kNobodyPacket ||
         (opcode != kExtendedAtomicPacket && op >= PacketOp::read_response_first &&
          op <= PacketOp::atomic_acknowledge);
}

// Of a message's packets.
bool begins(PacketOp op) {
  return op == PacketOp::send_first || op == PacketOp::send_only || op == PacketOp::send_only_imm ||
         op == PacketOp::send_only_invalidate || op == PacketOp::write_first ||
         op == PacketOp::write_only || op == PacketOp::write_only_imm;
}
bool ends(PacketOp op) {
  return op != PacketOp::send_first && op != PacketOp::send_middle && op != PacketOp::write_first &&
         op != PacketOp::write_middle;
}
// Late packets of an earlier connection come from elsewhere.
bool is_peer(const NicQueuePair& qp, const PacketHead& head) {
  return qp.wire->setup.transport == Transport::ud ||
         head.source_qpn == qp.wire->attributes.remote_qpn;
}

bool is_of_family(const NicQueuePair& qp, uint8_t opcode) {
  const Transport transport = qp.wire->setup.transport;
  if (opcode == kExtendedAtomicPacket) return transport != Transport::ud;
  uint8_t family = kRcPackets;
  if (transport == Transport::uc) family = kUcPackets;
  if (transport == Transport::ud) family = kUdPackets;
  if (transport == Transport::xrc_target) family = kXrcPackets;
  return (opcode & 0xe0) == family;
}

}  // namespace

void WireEngine::take_packet(const uint8_t* packet, uint32_t bytes) {
  Arrived arrived{{}, {}, PacketReader(packet, bytes), {}};
  if (!arrived.open()) return;
  NicQueuePair* qp = nic_.find_wired(arrived.base.remote_qpn.value() & 0xffffff);
  if (is_answer(arrived.base.opcode)) {
    if (qp != nullptr && is_peer(*qp, arrived.head)) take_answer(*qp, arrived);
    return;
  }
  if (qp == nullptr || !takes_packets(*qp) || !is_peer(*qp, arrived.head)) {
    return say_nobody(qp, arrived);
  }
  if (!is_of_family(*qp, arrived.base.opcode)) return;
  if (qp->wire->setup.transport == Transport::ud) return take_datagram(*qp, arrived);
  take_request(*qp, arrived);
}

void WireEngine::refuse_packet(const uint8_t* packet, uint32_t bytes) {
  Arrived arrived{{}, {}, PacketReader(packet, bytes), {}};
  if (!arrived.open()) return;
  if (!is_answer(arrived.base.opcode)) say_nobody(nullptr, arrived);
}

// An XRC target has none of its own: each request names one, and with it its protection domain.
NicReceiveQueue* WireEngine::receive_queue_of(NicQueuePair& qp, Arrived& packet) {
  if (qp.wire->setup.transport != Transport::xrc_target) return qp.receive;
  Be32 number;
  if (!packet.rest.take(number)) return nullptr;
  for (const auto& queue : nic_.receive_queues_) {
    if (queue->number == (number.value() & 0xffffff) && queue->cq != nullptr &&
        queue->xrc_domain == qp.wire->setup.xrc_domain) {
      qp.protection_domain = queue->protection_domain;
      return queue.get();
    }
  }
  return nullptr;
}

// A requester that has got ahead is told so once, and one that has fallen behind how far we are.
// One that was not ready for is to come again by itself.
void WireEngine::miss(NicQueuePair& qp, const Arrived& packet) {
  WireQueuePair& wire = *qp.wire;
  if (compare_psn(packet.psn(), wire.expected_psn) < 0) {
    return owe(qp, packet,
               {Response::Kind::ack, kAckSyndrome, (wire.expected_psn - 1) & kPsnMask, wire.msn});
  }
  if (wire.refused && wire.refused_attempt == packet.head.attempt) return;
  wire.refused = true;
  wire.refused_attempt = packet.head.attempt;
  owe(qp, packet, {Response::Kind::nak, kNakSequence, wire.expected_psn, wire.msn});
}

// Without acknowledgements a loss is a loss: any first packet begins anew, others of a message that
// has lost one are dropped.
void WireEngine::resynchronise(NicQueuePair& qp, const Arrived& packet) {
  WireQueuePair& wire = *qp.wire;
  const bool gap = compare_psn(packet.psn(), wire.expected_psn) != 0;
  if (gap || begins(packet.op())) flush_incoming(qp);
  wire.expected_psn = packet.psn();
}

void WireEngine::take_request(NicQueuePair& qp, Arrived& packet) {
  WireQueuePair& wire = *qp.wire;
  if (wire.setup.transport == Transport::uc) {
    resynchronise(qp, packet);
  } else if (compare_psn(packet.psn(), wire.expected_psn) != 0) {
    return miss(qp, packet);
  }
  wire.refused = false;
  if (!wire.established && wire.attributes.state == QueuePairState::rtr) {
    wire.established = true;
    if (wire.setup.events != nullptr) {
      wire.setup.events->async(AsyncEvent::communication_established, wire.setup.cookie);
    }
  }
  NicReceiveQueue* queue = receive_queue_of(qp, packet);
  if (queue == nullptr) {
    return refuse(qp, packet, kNakInvalidRequest, Syndrome::local_qp_operation);
  }
  if (packet.base.opcode == kExtendedAtomicPacket) return take_extended_atomic(qp, packet);
  const PacketOp op = packet.op();
  if (op == PacketOp::read_request) return take_read(qp, packet);
  if (op == PacketOp::compare_swap || op == PacketOp::fetch_add) return take_atomic(qp, packet);
  const bool write = op >= PacketOp::write_first && op <= PacketOp::write_only_imm;
  if (!begins(op) && !wire.incoming.open && !is_reliable(wire.setup.transport)) {
    wire.expected_psn = (wire.expected_psn + 1) & kPsnMask;  // its first packet was dropped
    return;
  }
  if (begins(op) == wire.incoming.open || (wire.incoming.open && wire.incoming.is_write != write)) {
    return refuse(qp, packet, kNakInvalidRequest, Syndrome::local_qp_operation);
  }
  Be32 imm{};
  if (write) {
    take_write(qp, *queue, packet, imm);
  } else {
    if (carries_word(op) && !packet.rest.take(imm)) return;
    take_send(qp, *queue, packet, imm);
  }
}

// Takes a receive WQE for the message at hand. False: there is none.
bool WireEngine::begin_receive(NicQueuePair& qp, NicReceiveQueue& queue) {
  if (!queue.ready()) return false;
  IncomingMessage& m = qp.wire->incoming;
  const NicReceiveQueue::Taken taken = queue.take();
  m.has_receive = true;
  m.receive_index = taken.index;
  m.cq = queue.cq != nullptr ? queue.cq : qp.receive_cq;
  m.user_index = queue.cq != nullptr ? queue.user_index : qp.wire->setup.user_index;
  uint32_t count = 0;
  m.room = 0;
  m.receive_error = Syndrome{};
  for (uint32_t i = 0; i < taken.count && count < kMaxPieces; ++i) {
    mlx5::DataSeg seg;
    std::memcpy(&seg, taken.entries + size_t{i} * sizeof(seg), sizeof(seg));
    if (seg.lkey.value() == mlx5::kInvalidKey) break;
    if (seg.byte_count.value() == 0) continue;
    const MemoryKeys::Want want{seg.lkey.value(), seg.addr.value(), seg.byte_count.value(),
                                access::local_write, queue.protection_domain};
    if (nic_.keys_.check(want, &m.pieces[count].address) != MemoryKeys::Check::ok) {
      m.receive_error = Syndrome::local_protection;
      break;
    }
    m.pieces[count].key = want.key;
    m.pieces[count].bytes = seg.byte_count.value();
    m.room += m.pieces[count++].bytes;
  }
  m.cursor = {m.pieces, count};
  return true;
}

void WireEngine::take_send(NicQueuePair& qp, NicReceiveQueue& queue, Arrived& packet, Be32 imm) {
  WireQueuePair& wire = *qp.wire;
  IncomingMessage& m = wire.incoming;
  const PacketOp op = packet.op();
  if (begins(op)) {
    m.open = false;
    m.is_write = false;
    m.total = 0;
    m.first_psn = packet.psn();
    if (!begin_receive(qp, queue)) return not_ready(qp, packet);
    m.open = true;
  }
  const uint32_t bytes = packet.rest.left();
  if (m.receive_error == Syndrome{} && m.total + bytes > m.room) {
    m.receive_error = Syndrome::local_length;
  }
  if (m.receive_error != Syndrome{} && bytes != 0) {
    const bool length = m.receive_error == Syndrome::local_length;
    return refuse(qp, packet, length ? kNakInvalidRequest : kNakRemoteOperation, m.receive_error);
  }
  m.cursor.copy_from(packet.rest.rest(), bytes);
  m.total += bytes;
  if (!ends(op)) {
    wire.expected_psn = (wire.expected_psn + 1) & kPsnMask;
    return;
  }
  CqeOpcode opcode = CqeOpcode::responder_send;
  if (op == PacketOp::send_last_imm || op == PacketOp::send_only_imm) {
    opcode = CqeOpcode::responder_send_imm;
  } else if (carries_word(op)) {
    opcode = CqeOpcode::responder_send_invalidate;
    nic_.keys_.invalidate(imm.value(), qp.protection_domain);
  }
  complete_receive(qp, packet, opcode, imm);
  end_message(qp, packet);
}

bool WireEngine::allows(const NicQueuePair& qp, const MemoryKeys::Want& want, uint8_t** at) const {
  if ((qp.wire->attributes.access & want.access) != want.access) return false;
  return want.bytes == 0 || nic_.keys_.check(want, at) == MemoryKeys::Check::ok;
}

void WireEngine::take_write(NicQueuePair& qp, NicReceiveQueue& queue, Arrived& packet, Be32 imm) {
  WireQueuePair& wire = *qp.wire;
  IncomingMessage& m = wire.incoming;
  const PacketOp op = packet.op();
  if (begins(op)) {
    RdmaHeader header;
    if (!packet.rest.take(header)) return;
    m.is_write = true;
    m.has_receive = false;
    m.total = 0;
    m.first_psn = packet.psn();
    m.write_left = header.bytes.value();
    m.rkey = header.rkey.value();
    m.write_at = nullptr;
    const MemoryKeys::Want want{header.rkey.value(), address_in(header.address), m.write_left,
                                access::remote_write, qp.protection_domain};
    if (m.write_left != 0 && !allows(qp, want, &m.write_at)) {
      return refuse(qp, packet, kNakRemoteAccess, Syndrome{});
    }
    m.open = true;
  }
  const bool with_imm = carries_word(op);
  if (with_imm && !packet.rest.take(imm)) return;
  const uint32_t bytes = packet.rest.left();
  if (bytes > m.write_left || (ends(op) && bytes != m.write_left)) {
    return refuse(qp, packet, kNakInvalidRequest, Syndrome{});
  }
  if (with_imm && !begin_receive(qp, queue)) return not_ready(qp, packet);
  move_bytes(m.write_at, packet.rest.rest(), bytes);
  m.write_at += bytes;
  m.write_left -= bytes;
  m.total += bytes;
  if (!ends(op)) {
    wire.expected_psn = (wire.expected_psn + 1) & kPsnMask;
    return;
  }
  if (with_imm) complete_receive(qp, packet, CqeOpcode::responder_write_imm, imm);
  end_message(qp, packet);
}

void WireEngine::complete_receive(NicQueuePair& qp, const Arrived& packet, CqeOpcode opcode,
                                  Be32 imm) {
  IncomingMessage& m = qp.wire->incoming;
  NicExecutor::CqeFields fields{
      opcode, m.receive_index, qp.qpn, static_cast<uint32_t>(m.total), imm, 0};
  fields.user_index = m.user_index;
  fields.solicited = packet.solicited();
  fields.slid = slid_of(qp, packet);
  m.has_receive = false;
  NicExecutor::write_cqe(nic_, qp, *m.cq, fields);
}

void WireEngine::end_message(NicQueuePair& qp, const Arrived& packet) {
  WireQueuePair& wire = *qp.wire;
  wire.incoming.open = false;
  wire.expected_psn = (wire.expected_psn + 1) & kPsnMask;
  wire.msn = (wire.msn + 1) & kPsnMask;
  if ((packet.base.ack_psn.value() & kAckRequest) == 0) return;
  // One answer stands for all before it.
  if (!wire.responses.empty() && wire.responses.back().kind == Response::Kind::ack) {
    wire.responses.back().psn = packet.psn();
    wire.responses.back().msn = wire.msn;
    return;
  }
  owe(qp, packet, {Response::Kind::ack, kAckSyndrome, packet.psn(), wire.msn});
}

// The message comes again from its first packet on.
void WireEngine::not_ready(NicQueuePair& qp, const Arrived& packet) {
  WireQueuePair& wire = *qp.wire;
  IncomingMessage& m = wire.incoming;
  m.open = false;
  if (!is_reliable(wire.setup.transport)) {
    wire.expected_psn = (wire.expected_psn + 1) & kPsnMask;  // dropped
    return;
  }
  wire.expected_psn = m.first_psn;
  wire.refused = true;  // what comes behind it comes again, too
  wire.refused_attempt = packet.head.attempt;
  const auto syndrome = static_cast<uint8_t>(kRnrSyndrome | (wire.attributes.min_rnr_timer & 0x1f));
  owe(qp, packet, {Response::Kind::nak, syndrome, m.first_psn, wire.msn});
}

// A responder that refuses a request goes to error itself (InfiniBand class C responder errors).
void WireEngine::refuse(NicQueuePair& qp, const Arrived& packet, uint8_t nak,
                        Syndrome receive_error) {
  WireQueuePair& wire = *qp.wire;
  IncomingMessage& m = wire.incoming;
  if (m.open && m.has_receive) {
    NicExecutor::CqeFields fields{
        CqeOpcode::responder_error,          m.receive_index, qp.qpn, 0, {},
        static_cast<uint32_t>(receive_error)};
    fields.user_index = m.user_index;
    NicExecutor::write_cqe(nic_, qp, *m.cq, fields);
  }
  m.open = m.has_receive = false;
  if (is_reliable(wire.setup.transport)) {
    owe(qp, packet, {Response::Kind::nak, nak, packet.psn(), wire.msn});
  }
  if (wire.setup.events != nullptr) {
    wire.setup.events->async(
        nak == kNakRemoteAccess ? AsyncEvent::qp_access_error : AsyncEvent::qp_request_error,
        wire.setup.cookie);
  }
  executor_.enter_error(qp);
}

}  // namespace ringer::sim
