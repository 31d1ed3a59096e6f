// SPDX-License-Identifier: Apache-2.0
// The responder's READs, atomics and datagrams: requests of one packet.
#include <ringer/control_plane.hpp>

#include "wire_engine.hpp"
#include "wire_opcodes.hpp"

namespace ringer::sim {

namespace {

using mlx5::CqeOpcode;
using mlx5::Syndrome;

constexpr size_t kMaxOwed = 256;  // answers to one requester, who has a limit of his own

}  // namespace

void WireEngine::take_read(NicQueuePair& qp, Arrived& packet) {
  WireQueuePair& wire = *qp.wire;
  RdmaHeader header;
  if (!packet.rest.take(header)) return;
  const uint32_t bytes = header.bytes.value();
  uint8_t* from = nullptr;
  const MemoryKeys::Want want{header.rkey.value(), address_in(header.address), bytes,
                              access::remote_read, qp.protection_domain};
  if (!is_reliable(wire.setup.transport) || wire.incoming.open) {
    return refuse(qp, packet, kNakInvalidRequest, Syndrome{});
  }
  if (!allows(qp, want, &from)) return refuse(qp, packet, kNakRemoteAccess, Syndrome{});
  if (wire.responses.size() >= kMaxOwed) {
    return refuse(qp, packet, kNakInvalidRequest, Syndrome{});
  }
  const uint32_t mtu = wire.attributes.mtu_bytes;
  wire.msn = (wire.msn + 1) & kPsnMask;
  Response response{Response::Kind::read, kAckSyndrome, packet.psn(), wire.msn};
  response.data = from;
  response.rkey = want.key;
  response.left = bytes;
  owe(qp, packet, response);
  const uint32_t packets = bytes == 0 ? 1 : (bytes + mtu - 1) / mtu;
  wire.expected_psn = (wire.expected_psn + packets) & kPsnMask;
}

void WireEngine::perform_atomic(NicQueuePair& qp, const Arrived& packet, uint64_t address,
                                uint32_t rkey, const AtomicKind& kind, const uint8_t* operands) {
  WireQueuePair& wire = *qp.wire;
  uint8_t* word = nullptr;
  const MemoryKeys::Want want{rkey, address, kind.bytes, access::remote_atomic,
                              qp.protection_domain};
  if (address % kind.bytes != 0 || !is_reliable(wire.setup.transport)) {
    return refuse(qp, packet, kNakInvalidRequest, Syndrome{});
  }
  if (!allows(qp, want, &word)) return refuse(qp, packet, kNakRemoteAccess, Syndrome{});
  if (wire.responses.size() >= kMaxOwed) {
    return refuse(qp, packet, kNakInvalidRequest, Syndrome{});
  }
  Response response{Response::Kind::atomic, kAckSyndrome, packet.psn()};
  response.value = apply_atomic(word, kind, operands);
  response.msn = wire.msn = (wire.msn + 1) & kPsnMask;
  wire.expected_psn = (wire.expected_psn + 1) & kPsnMask;
  owe(qp, packet, response);
}

void WireEngine::take_atomic(NicQueuePair& qp, Arrived& packet) {
  AtomicHeader header;
  if (!packet.rest.take(header)) return;
  const AtomicKind kind{packet.op() == PacketOp::fetch_add, false, 8};
  perform_atomic(qp, packet, address_in(header.address), header.rkey.value(), kind,
                 header.operands);
}

void WireEngine::take_extended_atomic(NicQueuePair& qp, Arrived& packet) {
  ExtendedAtomicHeader header;
  if (!packet.rest.take(header) || (header.bytes != 4 && header.bytes != 8)) return;
  const AtomicKind kind{header.is_add != 0, true, header.bytes};
  perform_atomic(qp, packet, address_in(header.address), header.rkey.value(), kind,
                 header.operands);
}

// What a CQE says of the header in front of a datagram.
uint32_t WireEngine::grh_flags_of(const Arrived& packet) {
  if (packet.head.is_global == 0) return 0;
  if (packet.global[0] == 0) return mlx5::cqe_flag::has_grh | mlx5::cqe_flag::grh_is_ipv4;
  const bool ipv6 = packet.global[6] == kUdpProtocol;
  return mlx5::cqe_flag::has_grh | (ipv6 ? mlx5::cqe_flag::grh_is_ipv6 : 0);
}

void WireEngine::take_datagram(NicQueuePair& qp, Arrived& packet) {
  WireQueuePair& wire = *qp.wire;
  IncomingMessage& m = wire.incoming;
  DatagramHeader header;
  if (!packet.rest.take(header) || header.qkey.value() != wire.attributes.qkey) return;
  const bool with_imm = carries_word(packet.op());
  Be32 imm{};
  if (with_imm && !packet.rest.take(imm)) return;
  if (!begin_receive(qp, *qp.receive)) return;  // dropped
  const uint32_t bytes = packet.rest.left();
  m.open = true;
  if (m.receive_error == Syndrome{} && kGlobalHeaderBytes + bytes > m.room) {
    m.receive_error = Syndrome::local_length;
  }
  if (m.receive_error != Syndrome{}) return refuse(qp, packet, 0, m.receive_error);
  if (packet.head.is_global != 0) {
    m.cursor.copy_from(packet.global.data(), kGlobalHeaderBytes);
  } else {
    m.cursor.skip(kGlobalHeaderBytes);
  }
  m.cursor.copy_from(packet.rest.rest(), bytes);
  m.open = m.has_receive = false;
  NicExecutor::CqeFields fields{
      with_imm ? CqeOpcode::responder_send_imm : CqeOpcode::responder_send,
      m.receive_index,
      qp.qpn,
      kGlobalHeaderBytes + bytes,
      imm,
      0};
  fields.user_index = m.user_index;
  fields.solicited = packet.solicited();
  fields.slid = slid_of(qp, packet);
  fields.flags_rqpn = grh_flags_of(packet) | (header.source_qpn.value() & 0xffffff);
  NicExecutor::write_cqe(nic_, qp, *m.cq, fields);
}

}  // namespace ringer::sim
