// SPDX-License-Identifier: Apache-2.0
// The requester: WQEs into packets, answers into completions. Links lose nothing and keep order, so
// packets are sent again only where the responder was not ready, or nobody was there.
#include <algorithm>
#include <chrono>
#include <cstring>

#include <ringer/control_plane.hpp>

#include "packet_links.hpp"
#include "wire_engine.hpp"

namespace ringer::sim {

namespace {

using mlx5::Opcode;
using mlx5::Syndrome;

constexpr uint64_t kPollNs = 1'000'000;  // between tries that nothing counts

bool is_atomic(Opcode opcode) {
  return opcode == Opcode::atomic_cs || opcode == Opcode::atomic_fa ||
         opcode == Opcode::atomic_masked_cs || opcode == Opcode::atomic_masked_fa;
}
bool is_send(Opcode opcode) {
  return opcode == Opcode::send || opcode == Opcode::send_imm || opcode == Opcode::send_invalidate;
}
bool is_write(Opcode opcode) {
  return opcode == Opcode::rdma_write || opcode == Opcode::rdma_write_imm;
}
bool is_local(Opcode opcode) {
  return opcode == Opcode::nop || opcode == Opcode::umr || opcode == Opcode::local_invalidate;
}
bool has_immediate(Opcode opcode) {
  return opcode == Opcode::send_imm || opcode == Opcode::rdma_write_imm ||
         opcode == Opcode::send_invalidate;
}

// Of a key context, mlx5dv MLX5_WQE_MKEY_CONTEXT_ACCESS_FLAGS_*.
uint32_t rights_of(uint8_t flags) {
  uint32_t rights = 0;
  if ((flags & 1 << 3) != 0) rights |= access::local_write;
  if ((flags & 1 << 4) != 0) rights |= access::remote_read;
  if ((flags & 1 << 5) != 0) rights |= access::remote_write;
  if ((flags & 1 << 6) != 0) rights |= access::remote_atomic;
  return rights;
}

bool transport_has(Transport transport, Opcode opcode) {
  if (is_send(opcode)) return transport != Transport::ud || opcode != Opcode::send_invalidate;
  if (is_write(opcode)) return transport != Transport::ud;
  return transport == Transport::rc || transport == Transport::xrc_initiator;
}

// InfiniBand volume 1, table 46: RNR NAK timer field, in units of 10 us.
constexpr uint32_t kRnrTimer[32] = {65536, 1,    2,    3,     4,     6,     8,     12,
                                    16,    24,   32,   48,    64,    96,    128,   192,
                                    256,   384,  512,  768,   1024,  1536,  2048,  3072,
                                    4096,  6144, 8192, 12288, 16384, 24576, 32768, 49152};

uint32_t packets_of(uint64_t bytes, uint32_t mtu) {
  return bytes == 0 ? 1 : static_cast<uint32_t>((bytes + mtu - 1) / mtu);
}

}  // namespace

uint64_t now_ns() {
  return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

bool WireEngine::may_send(const NicQueuePair& qp) const {
  const WireQueuePair& wire = *qp.wire;
  return wire.attributes.state == QueuePairState::rts &&
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
      if (!executor_.fetch(qp, wqe)) continue;
      if (must_wait(qp, wqe)) break;
      if (is_local(wqe.opcode)) {
        perform_locally(qp, wqe);
        ++done;
        continue;
      }
      const Problem problem = open_message(qp, wqe);
      if (problem) {
        if (!wire.sent.empty()) break;  // completions come in order
        executor_.refuse(qp, wqe.index, problem);
        qp.sq_ci += wqe.wqebbs - 1;
        ++done;
        continue;
      }
    }
    if (send_message(qp) == Sent::stalled) break;
    ++done;
  }
  executor_.wqes_ += done;
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

void WireEngine::perform_locally(NicQueuePair& qp, const Fetched& wqe) {
  Problem problem;
  if (wqe.opcode == Opcode::umr) problem = bind_window(qp, wqe);
  if (wqe.opcode == Opcode::local_invalidate) nic_.keys_.invalidate(wqe.imm.value());
  if (problem) {
    executor_.refuse(qp, wqe.index, problem);
    qp.sq_ci += wqe.wqebbs - 1;
    return;
  }
  executor_.returned_bytes_ = 0;
  executor_.complete(qp, wqe);
}

// A memory key update in the one form that libmlx5 posts: control, key context, and the memory
// behind the window unless it becomes free.
WireEngine::Problem WireEngine::bind_window(const NicQueuePair& qp, const Fetched& wqe) {
  constexpr uint32_t kContext = 1 + sizeof(mlx5::UmrControlSeg) / 16;
  constexpr uint32_t kMemory = kContext + sizeof(mlx5::MkeyContextSeg) / 16;
  if (wqe.segments < kMemory) {
    return {Syndrome::local_qp_operation, "a memory key update without its key context"};
  }
  const auto control = wqe.segment<mlx5::UmrControlSeg>(1);
  const auto context = wqe.segment<mlx5::MkeyContextSeg>(kContext);
  const auto low_byte = static_cast<uint8_t>(context.qpn_mkey.value());
  MemoryRange range;
  if ((context.free & mlx5::kMkeyFree) == 0) {
    if (wqe.segments <= kMemory) {
      return {Syndrome::local_qp_operation, "a memory key update without its memory"};
    }
    const auto klm = wqe.segment<mlx5::KlmSeg>(kMemory);
    range.start = context.start_addr.value();
    range.bytes = context.len.value();
    range.access = rights_of(context.access_flags);
    const bool writes = (range.access & (access::remote_write | access::remote_atomic)) != 0;
    const MemoryKeys::Want want{klm.mkey.value(), klm.address.value(), range.bytes,
                                writes ? access::local_write : 0, qp.protection_domain};
    if (nic_.keys_.check(want, &range.host) != MemoryKeys::Check::ok) {
      return {Syndrome::window_bind};
    }
  }
  const bool must_be_free = (control.flags & mlx5::kUmrCheckFree) != 0;
  if (!nic_.keys_.bind(wqe.imm.value(), low_byte, range, must_be_free)) {
    return {Syndrome::window_bind};
  }
  return {};
}

WireEngine::Problem WireEngine::open_datagram(const NicQueuePair& qp, uint32_t& segment) {
  OutgoingMessage& m = qp.wire->message;
  std::memcpy(&m.address, m.wqe + size_t{segment} * 16, sizeof(m.address));
  const uint32_t to = m.address.dqp_dct.value();
  const bool extended = (to & 0x80000000u) != 0;
  segment += extended ? 3 : 1;
  m.remote_qpn = to & 0xffffff;
  m.remote_lid = m.address.rlid.value();
  m.qkey = m.address.qkey.value();
  // A key with the top bit set stands for the queue pair's own.
  if ((m.qkey & 0x80000000u) != 0) m.qkey = qp.wire->attributes.qkey;
  m.has_grh = extended && (m.address.grh_gid_fl.value() & (1u << 30)) != 0;
  return {};
}

WireEngine::Problem WireEngine::open_atomic(NicQueuePair& qp, const Fetched& wqe,
                                            uint32_t segment) {
  OutgoingMessage& m = qp.wire->message;
  AtomicKind kind;
  if (!NicExecutor::atomic_kind(wqe, &kind)) {
    return {Syndrome::local_qp_operation, "extended atomic of unknown size"};
  }
  if (wqe.segments != segment + kind.operand_segments() + 1) {
    return {Syndrome::local_qp_operation, "segment count of an atomic"};
  }
  std::memcpy(m.operands, m.wqe + size_t{segment} * 16, size_t{kind.operand_segments()} * 16);
  uint32_t count;
  const Problem problem = executor_.gather(qp, wqe, segment + kind.operand_segments(),
                                           access::local_write, m.pieces, &count, &m.total);
  if (problem) return problem;
  if (m.total != kind.bytes) return {Syndrome::local_length};
  m.sent.scatter.assign(m.pieces, m.pieces + count);
  m.sent.returned_bytes = kind.bytes;
  return {};
}

// All that a WQE says, checked, before the first packet.
WireEngine::Problem WireEngine::open_message(NicQueuePair& qp, const Fetched& fetched) {
  WireQueuePair& wire = *qp.wire;
  const VerbsQueuePairAttributes& attributes = wire.attributes;
  OutgoingMessage& m = wire.message;
  if (!transport_has(wire.setup.transport, fetched.opcode)) {
    return {Syndrome::local_qp_operation, "an opcode that the transport does not have"};
  }
  Fetched wqe = fetched;
  std::memcpy(m.wqe, fetched.bytes, size_t{fetched.segments} * 16);
  wqe.bytes = m.wqe;
  m.done = m.total = 0;
  m.begun = false;
  m.remote_qpn = attributes.remote_qpn;
  m.remote_lid = attributes.remote_lid;
  m.imm = wqe.imm;
  m.solicited = (m.wqe[11] & mlx5::ctrl_flag::solicited) != 0;
  m.has_grh = false;
  m.sent.index = wqe.index;
  m.sent.wqebbs = wqe.wqebbs;
  m.sent.opcode = wqe.opcode;
  m.sent.signaled = wqe.signaled || wire.setup.signal_all;
  m.sent.returns = wqe.opcode == Opcode::rdma_read || is_atomic(wqe.opcode);
  m.sent.returned_bytes = m.sent.received_bytes = 0;
  m.sent.scatter.clear();
  uint32_t segment = 1;
  if (wire.setup.transport == Transport::ud) open_datagram(qp, segment);
  if (wire.setup.transport == Transport::xrc_initiator) {
    m.xrc_srqn = wqe.segment<Be32>(segment++).value();
  }
  if (!is_send(wqe.opcode)) {
    const auto raddr = wqe.segment<mlx5::RaddrSeg>(segment++);
    m.remote_address = raddr.raddr.value();
    m.rkey = raddr.rkey.value();
  }
  if (segment > wqe.segments)
    return {Syndrome::local_qp_operation, "fewer segments than its opcode needs"};
  uint32_t packets = 1;
  if (is_atomic(wqe.opcode)) {
    if (const Problem problem = open_atomic(qp, wqe, segment)) return problem;
  } else {
    const bool reads = wqe.opcode == Opcode::rdma_read;
    uint32_t count;
    const Problem problem = executor_.gather(qp, wqe, segment, reads ? access::local_write : 0,
                                             m.pieces, &count, &m.total);
    if (problem) return problem;
    m.cursor = {m.pieces, count};
    packets = packets_of(m.total, attributes.mtu_bytes);
    if (wire.setup.transport == Transport::ud && packets > 1) return {Syndrome::local_length};
    if (reads) {
      m.sent.scatter.assign(m.pieces, m.pieces + count);
      m.sent.returned_bytes = static_cast<uint32_t>(m.total);
    }
  }
  m.sent.first_psn = wire.next_psn;
  m.sent.last_psn = (wire.next_psn + packets - 1) & kPsnMask;
  m.open = true;
  return {};
}

WireEngine::Sent WireEngine::send_message(NicQueuePair& qp) {
  WireQueuePair& wire = *qp.wire;
  bool stalled = false;
  while (wire.message.open && send_packet(qp, &stalled)) continue;
  if (stalled) return Sent::stalled;
  return Sent::all;
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
  writer.put(PacketHead{bytes, qp.wire->setup.lid, remote_lid, qp.qpn, qp.wire->attempt, 0});
  writer.put(BaseHeader{opcode, solicited ? kSolicitedEvent : uint8_t{0}, Be16::of(0xffff),
                        Be32::of(remote_qpn), Be32::of(flags_psn)});
  return writer.rest();
}

// The next packet of the message. False if there is none, or it cannot be sent now.
bool WireEngine::send_packet(NicQueuePair& qp, bool* stalled) {
  WireQueuePair& wire = *qp.wire;
  OutgoingMessage& m = wire.message;
  const Transport transport = wire.setup.transport;
  const bool returns = m.sent.returns;
  const uint64_t left = returns ? 0 : m.total - m.done;
  const auto payload = static_cast<uint32_t>(std::min<uint64_t>(left, wire.attributes.mtu_bytes));
  const bool first = !m.begun;
  const bool last = payload == left;
  const bool atomic = is_atomic(m.sent.opcode);
  const bool extended =
      atomic && m.sent.opcode != Opcode::atomic_cs && m.sent.opcode != Opcode::atomic_fa;
  const bool rdma_header = first && !is_send(m.sent.opcode) && !atomic;
  const bool imm = last && has_immediate(m.sent.opcode);
  uint32_t headers = kHeadBytes;
  if (transport == Transport::xrc_initiator) headers += sizeof(Be32);
  if (transport == Transport::ud) headers += sizeof(DatagramHeader);
  if (rdma_header) headers += sizeof(RdmaHeader);
  if (atomic && !extended) headers += sizeof(AtomicHeader);
  if (extended) headers += sizeof(ExtendedAtomicHeader);
  if (imm) headers += sizeof(Be32);
  const bool reliable = transport == Transport::rc || transport == Transport::xrc_initiator;
  const uint32_t psn = wire.next_psn | (reliable && last ? kAckRequest : 0);
  bool nobody;
  uint8_t* at = begin_packet(m.remote_qpn, m.remote_lid, qp, headers + payload,
                             opcode_of(qp, first, last), psn, m.solicited && last, &nobody);
  if (at == nullptr && (!nobody || reliable)) {
    *stalled = true;
    if (nobody) nobody_there(qp);
    return false;
  }
  if (at != nullptr) {
    PacketWriter writer(at);
    const Be32 address[2] = {Be32::of(static_cast<uint32_t>(m.remote_address >> 32)),
                             Be32::of(static_cast<uint32_t>(m.remote_address))};
    if (transport == Transport::xrc_initiator) writer.put(Be32::of(m.xrc_srqn));
    if (transport == Transport::ud) {
      writer.put(DatagramHeader{Be32::of(m.qkey), Be32::of(qp.qpn)});
    }
    if (rdma_header) {
      writer.put(RdmaHeader{
          {address[0], address[1]}, Be32::of(m.rkey), Be32::of(static_cast<uint32_t>(m.total))});
    }
    if (atomic && !extended) {
      AtomicHeader header{{address[0], address[1]}, Be32::of(m.rkey), {}};
      std::memcpy(header.operands, m.operands, sizeof(header.operands));
      writer.put(header);
    }
    if (extended) {
      ExtendedAtomicHeader header{{address[0], address[1]},
                                  Be32::of(m.rkey),
                                  m.sent.opcode == Opcode::atomic_masked_fa,
                                  static_cast<uint8_t>(m.total),
                                  {},
                                  {}};
      std::memcpy(header.operands, m.operands, sizeof(header.operands));
      writer.put(header);
    }
    if (imm) writer.put(m.imm);
    m.cursor.copy_to(writer.rest(), payload);
    nic_.config_.links->commit(m.remote_qpn >> 16, headers + payload);
  }
  m.begun = true;
  m.done += payload;
  wire.next_psn = (wire.next_psn + 1) & kPsnMask;
  if (last) close_message(qp);
  return !last;
}

// All of it is in the links. Without acknowledgements that is all there is to wait for.
void WireEngine::close_message(NicQueuePair& qp) {
  WireQueuePair& wire = *qp.wire;
  OutgoingMessage& m = wire.message;
  m.open = false;
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
  acknowledge(qp, (psn - 1) & kPsnMask);
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
  wire.incoming.open = false;
  if (!wire.sent.empty() || wire.message.open) {
    const SentWqe& oldest = wire.sent.empty() ? wire.message.sent : wire.sent.front();
    rewind_to(qp, oldest.index, oldest.first_psn);
  }
  if (qp.sq_ci != qp.sq_pi) nic_.activate(qp);
}

// Everything up to `psn` has arrived, and has been done but for what READs and atomics return.
void WireEngine::acknowledge(NicQueuePair& qp, uint32_t psn) {
  WireQueuePair& wire = *qp.wire;
  while (!wire.sent.empty() && compare_psn(wire.sent.front().last_psn, psn) <= 0) {
    const SentWqe& oldest = wire.sent.front();
    if (oldest.returns && oldest.received_bytes < oldest.returned_bytes) return;
    if (oldest.signaled) {
      executor_.complete(qp, oldest.index, oldest.opcode, oldest.returned_bytes);
    }
    wire.reads -= oldest.returns ? 1 : 0;
    wire.sent.pop_front();
    wire.retries_left = wire.attributes.retry_count;
    wire.rnr_retries_left = wire.attributes.rnr_retry;
  }
}

void WireEngine::take_returned(NicQueuePair& qp, uint32_t psn, const uint8_t* data, uint32_t bytes,
                               bool last) {
  WireQueuePair& wire = *qp.wire;
  acknowledge(qp, (psn - 1) & kPsnMask);
  if (wire.sent.empty()) return;
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
  acknowledge(qp, (psn - 1) & kPsnMask);
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
    if ((syndrome & 0x60) == 0) return acknowledge(qp, packet.psn());
    return take_nak(qp, packet.psn(), syndrome);
  }
  if (op == PacketOp::atomic_acknowledge) {
    Be64 value;
    if (!packet.rest.take(value) || qp.wire->sent.empty()) return;
    const uint64_t host = value.value();
    acknowledge(qp, (packet.psn() - 1) & kPsnMask);
    if (qp.wire->sent.empty()) return;
    return take_returned(qp, packet.psn(), reinterpret_cast<const uint8_t*>(&host),
                         qp.wire->sent.front().returned_bytes, true);
  }
  const bool last = op == PacketOp::read_response_last || op == PacketOp::read_response_only;
  take_returned(qp, packet.psn(), packet.rest.rest(), packet.rest.left(), last);
}

}  // namespace ringer::sim
