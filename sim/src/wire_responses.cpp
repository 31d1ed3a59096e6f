// SPDX-License-Identifier: Apache-2.0
// What the responder owes: acknowledgements, refusals and data, in the order of the requests, as
// far as the links have room.
#include <algorithm>
#include <cstring>

#include "packet_links.hpp"
#include "wire_engine.hpp"

namespace ringer::sim {

// The sender of a reliable request need not find out by his timer alone. Behind the answers that he
// is still owed.
void WireEngine::say_nobody(NicQueuePair* qp, const Arrived& packet) {
  const uint8_t family = packet.base.opcode & 0xe0;
  if (family == kUcPackets || family == kUdPackets) return;
  if (qp != nullptr && !qp->wire->responses.empty()) {
    Response response{Response::Kind::nobody, 0, packet.psn()};
    response.refused = packet.head;
    return owe(*qp, response);
  }
  send_nobody(packet.head, packet.base.remote_qpn.value() & 0xffffff, packet.psn());
}

// False: no room.
bool WireEngine::send_nobody(const PacketHead& refused, Qpn qpn, uint32_t psn) {
  uint8_t* packet = nullptr;
  const uint32_t process = refused.source_qpn >> 16;
  const auto room = nic_.config_.links->reserve(process, kHeadBytes, &packet);
  if (packet == nullptr) return room == PacketLinks::Room::nobody;
  PacketWriter writer(packet);
  writer.put(PacketHead{kHeadBytes, refused.dlid, refused.slid, qpn, refused.attempt, 0});
  writer.put(
      BaseHeader{kNobodyPacket, 0, Be16::of(0xffff), Be32::of(refused.source_qpn), Be32::of(psn)});
  nic_.config_.links->commit(process, kHeadBytes);
  return true;
}

void WireEngine::owe(NicQueuePair& qp, const Response& response) {
  WireQueuePair& wire = *qp.wire;
  wire.responses.push_back(response);
  if (wire.responding) return;
  wire.responding = true;
  nic_.responding_.push_back(&qp);
}

bool WireEngine::respond() {
  bool any = false;
  std::erase_if(nic_.responding_, [&](NicQueuePair* qp) {
    any = answer(*qp) || any;
    qp->wire->responding = !qp->wire->responses.empty();
    return !qp->wire->responding;
  });
  return any;
}

// As far as the link has room. True if anything was sent.
bool WireEngine::answer(NicQueuePair& qp) {
  WireQueuePair& wire = *qp.wire;
  bool any = false;
  while (!wire.responses.empty() && answer_with(qp, wire.responses.front())) {
    any = true;
    Response& front = wire.responses.front();
    if (front.kind != Response::Kind::read || front.left == 0) wire.responses.pop_front();
  }
  return any;
}

// One packet of it. False: no room. To nobody, it counts as sent.
bool WireEngine::answer_with(NicQueuePair& qp, Response& response) {
  if (response.kind == Response::Kind::nobody) {
    return send_nobody(response.refused, qp.qpn, response.psn);
  }
  const WireQueuePair& wire = *qp.wire;
  const uint8_t family = wire.setup.transport == Transport::xrc_target ? kXrcPackets : kRcPackets;
  const uint32_t payload =
      response.kind == Response::Kind::read
          ? static_cast<uint32_t>(std::min<uint64_t>(response.left, wire.attributes.mtu_bytes))
          : 0;
  PacketOp op = PacketOp::acknowledge;
  if (response.kind == Response::Kind::atomic) op = PacketOp::atomic_acknowledge;
  if (response.kind == Response::Kind::read) {
    const bool last = payload == response.left;
    op = response.begun ? (last ? PacketOp::read_response_last : PacketOp::read_response_middle)
                        : (last ? PacketOp::read_response_only : PacketOp::read_response_first);
  }
  uint32_t bytes = kHeadBytes + payload;
  if (op != PacketOp::read_response_middle) bytes += sizeof(AckHeader);
  if (op == PacketOp::atomic_acknowledge) bytes += sizeof(Be64);
  bool nobody;
  uint8_t* at = begin_packet(wire.attributes.remote_qpn, wire.attributes.remote_lid, qp, bytes,
                             static_cast<uint8_t>(family | static_cast<uint8_t>(op)), response.psn,
                             false, &nobody);
  if (at == nullptr && !nobody) return false;
  if (at != nullptr) {
    PacketWriter writer(at);
    if (op != PacketOp::read_response_middle) {
      writer.put(AckHeader{Be32::of((uint32_t{response.syndrome} << 24) | response.msn)});
    }
    if (op == PacketOp::atomic_acknowledge) writer.put(Be64::of(response.value));
    if (payload != 0) std::memcpy(writer.rest(), response.data, payload);
    nic_.config_.links->commit(wire.attributes.remote_qpn >> 16, bytes);
  }
  response.begun = true;
  response.data += payload;
  response.left -= payload;
  response.psn = (response.psn + 1) & kPsnMask;
  return true;
}

}  // namespace ringer::sim
