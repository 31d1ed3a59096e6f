// SPDX-License-Identifier: Apache-2.0
// A WQE is opened: all that it says, checked before its first packet is sent; and what needs no
// peer.
#include <algorithm>
#include <cstring>

#include <ringer/control_plane.hpp>

#include "wire_engine.hpp"
#include "wire_opcodes.hpp"

namespace ringer::sim {

namespace {

using mlx5::Opcode;
using mlx5::Syndrome;

bool transport_has(Transport transport, Opcode opcode) {
  if (is_send(opcode)) return transport != Transport::ud || opcode != Opcode::send_invalidate;
  if (is_write(opcode)) return transport != Transport::ud;
  return transport == Transport::rc || transport == Transport::xrc_initiator;
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

uint32_t packets_of(uint64_t bytes, uint32_t mtu) {
  return bytes == 0 ? 1 : static_cast<uint32_t>((bytes + mtu - 1) / mtu);
}

}  // namespace

void WireEngine::perform_locally(NicQueuePair& qp, const Fetched& wqe) {
  Problem problem;
  if (wqe.opcode == Opcode::umr) problem = bind_window(qp, wqe);
  if (wqe.opcode == Opcode::local_invalidate)
    nic_.keys_.invalidate(wqe.imm.value(), qp.protection_domain);
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
    range.parent = klm.mkey.value();
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
  const LinkLayer link = qp.wire->setup.link;
  std::memcpy(&m.address, m.wqe + size_t{segment} * 16, sizeof(m.address));
  const uint32_t to = m.address.dqp_dct.value();
  const bool extended = (to & 0x80000000u) != 0;
  segment += extended ? 3 : 1;
  m.remote_qpn = to & 0xffffff;
  m.remote_lid = link == LinkLayer::ethernet ? lid_of_mac(m.address.rmac) : m.address.rlid.value();
  m.qkey = m.address.qkey.value();
  // A key with the top bit set stands for the queue pair's own.
  if ((m.qkey & 0x80000000u) != 0) m.qkey = qp.wire->attributes.qkey;
  const mlx5::GrhWord grh = mlx5::GrhWord::of(m.address.grh_gid_fl);
  // On Ethernet there always is one, and the bit is left out.
  m.has_grh = link == LinkLayer::ethernet || (extended && grh.present);
  if (m.has_grh && !extended) {
    return {Syndrome::local_qp_operation, "a datagram without a global address on Ethernet"};
  }
  if (m.has_grh && grh.source_index >= gid_count(link)) {
    return {Syndrome::local_qp_operation, "an address that names no GID of the port"};
  }
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

// Everything but its operands.
WireEngine::Problem WireEngine::open_message(NicQueuePair& qp, const Fetched& fetched) {
  WireQueuePair& wire = *qp.wire;
  OutgoingMessage& m = wire.message;
  if (!transport_has(wire.setup.transport, fetched.opcode)) {
    return {Syndrome::local_qp_operation, "an opcode that the transport does not have"};
  }
  std::memcpy(m.wqe, fetched.bytes, size_t{fetched.segments} * 16);
  Fetched wqe = fetched;
  wqe.bytes = m.wqe;
  m.done = m.total = 0;
  m.begun = false;
  m.remote_qpn = wire.attributes.remote_qpn;
  m.remote_lid = wire.attributes.remote_lid;
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
  if (const Problem problem = open_operands(qp, wqe)) return problem;
  const uint32_t packets =
      is_atomic(wqe.opcode) ? 1 : packets_of(m.total, wire.attributes.mtu_bytes);
  if (wire.setup.transport == Transport::ud && packets > 1) return {Syndrome::local_length};
  m.sent.first_psn = wire.next_psn;
  m.sent.last_psn = (wire.next_psn + packets - 1) & kPsnMask;
  m.open = true;
  return {};
}

// Where it goes, and what from and to.
WireEngine::Problem WireEngine::open_operands(NicQueuePair& qp, const Fetched& wqe) {
  const Transport transport = qp.wire->setup.transport;
  OutgoingMessage& m = qp.wire->message;
  uint32_t segment = 1;
  if (transport == Transport::ud) {
    if (const Problem problem = open_datagram(qp, segment)) return problem;
  }
  if (transport == Transport::xrc_initiator) {
    m.xrc_srqn = wqe.segment<Be32>(segment++).value();
  }
  if (!is_send(wqe.opcode)) {
    const auto raddr = wqe.segment<mlx5::RaddrSeg>(segment++);
    m.remote_address = raddr.raddr.value();
    m.rkey = raddr.rkey.value();
  }
  if (segment > wqe.segments) {
    return {Syndrome::local_qp_operation, "fewer segments than its opcode needs"};
  }
  if (is_atomic(wqe.opcode)) return open_atomic(qp, wqe, segment);
  uint32_t count;
  const uint32_t rights = m.sent.returns ? access::local_write : 0;
  const Problem problem = executor_.gather(qp, wqe, segment, rights, m.pieces, &count, &m.total);
  if (problem) return problem;
  m.cursor = {m.pieces, count};
  if (m.sent.returns) {
    m.sent.scatter.assign(m.pieces, m.pieces + count);
    m.sent.returned_bytes = static_cast<uint32_t>(m.total);
  }
  return {};
}

}  // namespace ringer::sim
