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
    return owe(*qp, packet, {Response::Kind::nobody, 0, packet.psn()});
  }
  owe_nobody(packet.head, packet.base.remote_qpn.value() & 0xffffff, packet.psn());
}

// In the NIC's own name: the queue pair may be gone by the time that the link has room.
void WireEngine::owe_nobody(const PacketHead& refused, Qpn qpn, uint32_t psn) {
  constexpr size_t kMost = 4096;  // of those that only somebody hostile makes more of
  const Nic::Refusal refusal{qpn,          refused.source_qpn, refused.dlid,
                             refused.slid, refused.attempt,    psn};
  if (nic_.refusals_.empty() && send_nobody(refusal)) return;
  if (nic_.refusals_.size() < kMost) nic_.refusals_.push_back(refusal);
}

// False: no room.
bool WireEngine::send_nobody(const Nic::Refusal& refusal) {
  uint8_t* packet = nullptr;
  const uint32_t process = refusal.to >> 16;
  const auto room = nic_.config_.links->reserve(process, kHeadBytes, &packet);
  if (packet == nullptr) return room == PacketLinks::Room::nobody;
  PacketWriter writer(packet);
  writer.put(
      PacketHead{kHeadBytes, refusal.from_lid, refusal.to_lid, refusal.from, refusal.attempt, 0});
  writer.put(
      BaseHeader{kNobodyPacket, 0, Be16::of(0xffff), Be32::of(refusal.to), Be32::of(refusal.psn)});
  nic_.config_.links->commit(process, kHeadBytes);
  return true;
}

void WireEngine::leave(NicQueuePair& qp) {
  const WireQueuePair& wire = *qp.wire;
  if (wire.responses.empty()) return;
  const Response& oldest = wire.responses.front();
  owe_nobody(oldest.request, qp.qpn, oldest.psn);
}

// What has begun cannot be taken back; what is left of it fails as if the key had been wrong.
void WireEngine::forget_key(uint32_t key) {
  const auto uses = [key](const Piece* pieces, size_t count) {
    return std::any_of(pieces, pieces + count, [key](const Piece& p) { return p.key == key; });
  };
  for (const auto& [qpn, qp] : nic_.wired_) {
    WireQueuePair& wire = *qp->wire;
    if (qp->state != NicQueuePair::State::ready) continue;
    const IncomingMessage& in = wire.incoming;
    const bool answers =
        std::any_of(wire.responses.begin(), wire.responses.end(), [&](const auto& r) {
          return r.kind == Response::Kind::read && r.rkey == key && r.left != 0;
        });
    const bool receives = in.open && ((in.is_write && in.rkey == key) ||
                                      (in.has_receive && uses(in.pieces, in.cursor.count)));
    if (answers || receives) {
      for (Response& r : wire.responses) {
        if (r.kind != Response::Kind::read || r.rkey != key || r.left == 0) continue;
        r = {Response::Kind::nak, kNakRemoteAccess, r.psn, r.msn};
      }
      executor_.enter_error(*qp);
      continue;
    }
    const auto sent = std::find_if(wire.sent.begin(), wire.sent.end(), [&](const SentWqe& s) {
      return uses(s.scatter.data(), s.scatter.size());
    });
    if (sent != wire.sent.end()) {
      wire.sent.erase(sent + 1, wire.sent.end());
      fail_at(*qp, sent->first_psn, mlx5::Syndrome::local_protection);
    } else if (wire.message.open && uses(wire.message.pieces, wire.message.cursor.count)) {
      fail_at(*qp, wire.message.sent.first_psn, mlx5::Syndrome::local_protection);
    }
  }
}

void WireEngine::owe(NicQueuePair& qp, const Arrived& packet, const Response& response) {
  WireQueuePair& wire = *qp.wire;
  wire.responses.push_back(response);
  wire.responses.back().request = packet.head;
  if (wire.responding) return;
  wire.responding = true;
  nic_.responding_.push_back(&qp);
}

bool WireEngine::respond() {
  bool any = false;
  while (!nic_.refusals_.empty() && send_nobody(nic_.refusals_.front())) {
    nic_.refusals_.pop_front();
    any = true;
  }
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
  for (uint32_t packets = 0; packets < kPacketsATurn && !wire.responses.empty(); ++packets) {
    if (!answer_with(qp, wire.responses.front())) break;
    any = true;
    Response& front = wire.responses.front();
    if (front.kind != Response::Kind::read || front.left == 0) wire.responses.pop_front();
  }
  return any;
}

// One packet of it. False: no room. To nobody, it counts as sent.
bool WireEngine::answer_with(NicQueuePair& qp, Response& response) {
  if (response.kind == Response::Kind::nobody) {
    owe_nobody(response.request, qp.qpn, response.psn);
    return true;
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
