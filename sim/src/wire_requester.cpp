// SPDX-License-Identifier: Apache-2.0
// The requester sends: WQEs become packets, as far as links, limits and timers let them.
#include <algorithm>
#include <chrono>
#include <cstring>

#include "packet_links.hpp"
#include "wire_engine.hpp"
#include "wire_opcodes.hpp"

namespace ringer::sim {

using mlx5::Opcode;

namespace {

// What a datagram's route header says.
GlobalHeader global_header_of(const NicQueuePair& qp, uint64_t transport_bytes) {
  const mlx5::AddressVector& address = qp.wire->message.address;
  const mlx5::GrhWord word = mlx5::GrhWord::of(address.grh_gid_fl);
  GlobalRoute route;
  route.from = gid_of(qp.wire->setup.link, qp.wire->attributes.lid, word.source_index);
  std::copy(std::begin(address.rgid), std::end(address.rgid), route.to.begin());
  route.flow_label = word.flow_label;
  route.traffic_class = address.tclass;
  route.hop_limit = address.hop_limit;
  route.transport_bytes = static_cast<uint32_t>(transport_bytes);
  return global_header(route);
}

// What nobody acknowledges is lost rather than held back for long by a peer that has stopped.
bool waits_for_room(WireQueuePair& wire) {
  constexpr uint64_t kPatienceNs = 100'000'000;
  const uint64_t now = now_ns();
  if (wire.full_since_ns == 0) wire.full_since_ns = now;
  return now - wire.full_since_ns < kPatienceNs;
}

}  // namespace

uint64_t now_ns() {
  return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

bool WireEngine::may_send(const NicQueuePair& qp) const {
  const WireQueuePair& wire = *qp.wire;
  // To be drained is to end what has begun.
  const bool ends = wire.attributes.state == QueuePairState::sqd && wire.message.open;
  return (wire.attributes.state == QueuePairState::rts || ends) &&
         (wire.resume_ns == 0 || now_ns() >= wire.resume_ns);
}

uint32_t WireEngine::run(NicQueuePair& qp, uint32_t budget) {
  WireQueuePair& wire = *qp.wire;
  uint32_t done = 0;
  while (done < budget && qp.sq_ci != qp.sq_pi) {
    if (qp.state == NicQueuePair::State::error) {
      if (!qp.send_cq->has_room()) break;
      executor_.flush_one(qp);
      ++done;
      continue;
    }
    if (!may_send(qp)) break;
    if (!wire.message.open) {
      Fetched wqe;
      Problem problem = executor_.fetch(qp, wqe);
      if (!problem && must_wait(qp, wqe)) break;
      if (!problem && is_local(wqe.opcode)) {
        perform_locally(qp, wqe);
        ++done;
        continue;
      }
      const bool whole = !problem;  // else its length is not to be trusted either
      if (whole) problem = open_message(qp, wqe);
      if (problem) {
        if (!wire.sent.empty()) break;  // completions come in order
        executor_.refuse(qp, wqe.index, problem);
        if (whole) qp.sq_ci += wqe.wqebbs - 1;
        ++done;
        continue;
      }
    }
    const Sent sent = send_message(qp);
    if (sent != Sent::none) ++done;
    if (sent != Sent::all) break;
  }
  return done;
}

// READs and atomics are limited, and a fence waits for them. What needs no peer is not done before
// those in front of it are complete.
bool WireEngine::must_wait(const NicQueuePair& qp, const Fetched& wqe) const {
  const WireQueuePair& wire = *qp.wire;
  mlx5::CtrlSeg ctrl;
  std::memcpy(&ctrl, wqe.bytes, sizeof(ctrl));
  constexpr uint8_t kFences = mlx5::ctrl_flag::fence | mlx5::ctrl_flag::initiator_small_fence;
  if ((ctrl.fm_ce_se & kFences) != 0 && wire.reads != 0) return true;
  if (is_local(wqe.opcode) && !wire.sent.empty()) return true;
  const bool reads = wqe.opcode == Opcode::rdma_read || is_atomic(wqe.opcode);
  return reads && wire.reads >= std::max(wire.attributes.max_reads, 1u);
}

// As much as one turn allows: others have messages, too, and whoever waits for the gate.
WireEngine::Sent WireEngine::send_message(NicQueuePair& qp) {
  bool stalled = false;
  for (uint32_t packets = 0; packets < kPacketsATurn; ++packets) {
    if (send_packet(qp, &stalled)) continue;
    if (!stalled) return Sent::all;
    return packets == 0 ? Sent::none : Sent::some;
  }
  return Sent::some;
}

uint8_t WireEngine::opcode_of(const NicQueuePair& qp, bool first, bool last) const {
  const Opcode opcode = qp.wire->message.sent.opcode;
  uint8_t family = kRcPackets;
  if (qp.wire->setup.transport == Transport::uc) family = kUcPackets;
  if (qp.wire->setup.transport == Transport::ud) family = kUdPackets;
  if (qp.wire->setup.transport == Transport::xrc_initiator) family = kXrcPackets;
  PacketOp op{};
  if (opcode == Opcode::rdma_read) {
    op = PacketOp::read_request;
  } else if (opcode == Opcode::atomic_cs) {
    op = PacketOp::compare_swap;
  } else if (opcode == Opcode::atomic_fa) {
    op = PacketOp::fetch_add;
  } else if (is_atomic(opcode)) {
    return kExtendedAtomicPacket;
  } else {
    const bool write = is_write(opcode);
    const bool imm = has_immediate(opcode);
    if (last && opcode == Opcode::send_invalidate) {
      op = first ? PacketOp::send_only_invalidate : PacketOp::send_last_invalidate;
    } else {
      const int plain = first ? (last ? 4 : 0) : (last ? 2 : 1);
      op = static_cast<PacketOp>(plain + (last && imm ? 1 : 0) + (write ? 6 : 0));
    }
  }
  return static_cast<uint8_t>(family | static_cast<uint8_t>(op));
}

// Null: the link is full, or there is nobody.
uint8_t* WireEngine::begin_packet(Qpn remote_qpn, uint16_t remote_lid, const NicQueuePair& qp,
                                  uint32_t bytes, uint8_t opcode, uint32_t flags_psn,
                                  bool solicited, bool* nobody) {
  uint8_t* packet = nullptr;
  const auto room = nic_.config_.links->reserve(remote_qpn >> 16, bytes, &packet);
  *nobody = room == PacketLinks::Room::nobody;
  if (packet == nullptr) return nullptr;
  PacketWriter writer(packet);
  const bool global = qp.wire->message.has_grh;
  writer.put(
      PacketHead{bytes, qp.wire->attributes.lid, remote_lid, qp.qpn, qp.wire->attempt, global});
  if (global) writer.put(global_header_of(qp, bytes - sizeof(PacketHead) - kGlobalHeaderBytes));
  writer.put(BaseHeader{opcode, solicited ? kSolicitedEvent : uint8_t{0}, Be16::of(0xffff),
                        Be32::of(remote_qpn), Be32::of(flags_psn)});
  return writer.rest();
}

WireEngine::PacketPlan WireEngine::plan_packet(const NicQueuePair& qp) const {
  const WireQueuePair& wire = *qp.wire;
  const OutgoingMessage& m = wire.message;
  const Transport transport = wire.setup.transport;
  const Opcode opcode = m.sent.opcode;
  const uint64_t left = m.sent.returns ? 0 : m.total - m.done;
  PacketPlan plan;
  plan.payload = static_cast<uint32_t>(std::min<uint64_t>(left, wire.attributes.mtu_bytes));
  plan.first = !m.begun;
  plan.last = plan.payload == left;
  plan.extended_atomic = opcode == Opcode::atomic_masked_cs || opcode == Opcode::atomic_masked_fa;
  plan.atomic = is_atomic(opcode) && !plan.extended_atomic;
  plan.rdma = plan.first && !is_send(opcode) && !is_atomic(opcode);
  plan.immediate = plan.last && has_immediate(opcode);
  plan.reliable = transport == Transport::rc || transport == Transport::xrc_initiator;
  plan.bytes = kHeadBytes + plan.payload;
  if (transport == Transport::xrc_initiator) plan.bytes += sizeof(Be32);
  if (transport == Transport::ud) plan.bytes += sizeof(DatagramHeader);
  if (m.has_grh) plan.bytes += kGlobalHeaderBytes;
  if (plan.rdma) plan.bytes += sizeof(RdmaHeader);
  if (plan.atomic) plan.bytes += sizeof(AtomicHeader);
  if (plan.extended_atomic) plan.bytes += sizeof(ExtendedAtomicHeader);
  if (plan.immediate) plan.bytes += sizeof(Be32);
  return plan;
}

// What comes behind the base header, in its order.
void WireEngine::write_headers(const NicQueuePair& qp, const PacketPlan& plan,
                               PacketWriter& writer) {
  const OutgoingMessage& m = qp.wire->message;
  const Be32 high = Be32::of(static_cast<uint32_t>(m.remote_address >> 32));
  const Be32 low = Be32::of(static_cast<uint32_t>(m.remote_address));
  const Be32 rkey = Be32::of(m.rkey);
  if (qp.wire->setup.transport == Transport::xrc_initiator) writer.put(Be32::of(m.xrc_srqn));
  if (qp.wire->setup.transport == Transport::ud) {
    writer.put(DatagramHeader{Be32::of(m.qkey), Be32::of(qp.qpn)});
  }
  if (plan.rdma) {
    writer.put(RdmaHeader{{high, low}, rkey, Be32::of(static_cast<uint32_t>(m.total))});
  }
  if (plan.atomic) {
    AtomicHeader header{{high, low}, rkey, {}};
    std::memcpy(header.operands, m.operands, sizeof(header.operands));
    writer.put(header);
  }
  if (plan.extended_atomic) {
    ExtendedAtomicHeader header{
        {high, low}, rkey, m.sent.opcode == Opcode::atomic_masked_fa, static_cast<uint8_t>(m.total),
        {},          {}};
    std::memcpy(header.operands, m.operands, sizeof(header.operands));
    writer.put(header);
  }
  if (plan.immediate) writer.put(m.imm);
}

// The next packet of the message. False if it was the last, or cannot be sent now.
bool WireEngine::send_packet(NicQueuePair& qp, bool* stalled) {
  WireQueuePair& wire = *qp.wire;
  OutgoingMessage& m = wire.message;
  const PacketPlan plan = plan_packet(qp);
  const uint32_t psn = wire.next_psn | (plan.reliable && plan.last ? kAckRequest : 0);
  bool nobody;
  uint8_t* at =
      begin_packet(m.remote_qpn, m.remote_lid, qp, plan.bytes, opcode_of(qp, plan.first, plan.last),
                   psn, m.solicited && plan.last, &nobody);
  if (at != nullptr) wire.full_since_ns = 0;
  if (at == nullptr && (plan.reliable || (!nobody && waits_for_room(wire)))) {
    *stalled = true;
    if (nobody) nobody_there(qp);
    return false;
  }
  if (at != nullptr) {
    PacketWriter writer(at);
    write_headers(qp, plan, writer);
    m.cursor.copy_to(writer.rest(), plan.payload);
    nic_.config_.links->commit(m.remote_qpn >> 16, plan.bytes);
  }
  m.begun = true;
  m.done += plan.payload;
  wire.next_psn = (wire.next_psn + 1) & kPsnMask;
  if (plan.last) close_message(qp);
  return !plan.last;
}

// All of it is in the links. Without acknowledgements that is all there is to wait for.
void WireEngine::close_message(NicQueuePair& qp) {
  WireQueuePair& wire = *qp.wire;
  OutgoingMessage& m = wire.message;
  m.open = false;
  ++executor_.wqes_;
  qp.sq_ci += m.sent.wqebbs;
  wire.next_psn = (m.sent.last_psn + 1) & kPsnMask;
  executor_.bytes_ += m.total;
  if (wire.setup.transport == Transport::uc || wire.setup.transport == Transport::ud) {
    if (m.sent.signaled) executor_.complete(qp, m.sent.index, m.sent.opcode, 0);
    return;
  }
  wire.reads += m.sent.returns ? 1 : 0;
  wire.sent.push_back(m.sent);
}

}  // namespace ringer::sim
