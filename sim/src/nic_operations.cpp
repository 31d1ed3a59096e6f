// SPDX-License-Identifier: Apache-2.0
// What each opcode does once its WQE has been fetched: resolve keys, move bytes, or refuse.
#include <algorithm>
#include <cstring>

#include <ringer/control_plane.hpp>

#include "nic_executor.hpp"
#include "nic_move.hpp"

namespace ringer::sim {

// Null: nobody answers at the other end.
NicQueuePair* NicExecutor::responder_of(NicQueuePair& qp) const {
  if (!qp.remote->powered_) return nullptr;
  NicQueuePair* responder = qp.remote->find_queue_pair(qp.remote_qpn);
  if (responder == nullptr || responder->state != NicQueuePair::State::ready) return nullptr;
  return responder;
}

// Resolves the data segments from `first_segment` on.
NicExecutor::Problem NicExecutor::gather(const NicQueuePair& qp, const Fetched& wqe,
                                         uint32_t first_segment, uint32_t access, Piece* pieces,
                                         uint32_t* count, uint64_t* total) const {
  *count = 0;
  *total = 0;
  for (uint32_t seg = first_segment; seg < wqe.segments; ++*count) {
    const auto data = wqe.segment<mlx5::DataSeg>(seg);
    const uint32_t byte_count = data.byte_count.value();
    Piece& piece = pieces[*count];
    if ((byte_count & mlx5::kInlineFlag) != 0) {
      const uint32_t bytes = byte_count & ~mlx5::kInlineFlag;
      const uint32_t segments = static_cast<uint32_t>((uint64_t{bytes} + 4 + 15) / 16);
      if (segments > wqe.segments - seg || (access & access::local_write) != 0) {
        return {mlx5::Syndrome::local_qp_operation,
                "inline data beyond the WQE, or where data must be returned"};
      }
      piece = {const_cast<uint8_t*>(wqe.bytes) + size_t{seg} * 16 + 4, bytes, 0};
      seg += segments;
    } else if (byte_count == 0) {
      return {mlx5::Syndrome::local_qp_operation,
              "a data segment of 0 bytes, which a NIC takes for 2 GiB"};
    } else {
      const MemoryKeys::Want want{data.lkey.value(), data.addr.value(), byte_count, access,
                                  qp.protection_domain};
      piece.bytes = byte_count;
      piece.key = want.key;
      if (nic_.keys_.check(want, &piece.address) != MemoryKeys::Check::ok) {
        return {mlx5::Syndrome::local_protection};
      }
      ++seg;
    }
    *total += piece.bytes;
  }
  if (*total > mlx5::Wire::kMaxMessageBytes) return {mlx5::Syndrome::local_length};
  return {};
}

NicExecutor::Outcome NicExecutor::execute_rdma(NicQueuePair& qp, const Fetched& wqe) {
  if (wqe.segments < 2) return malformed(qp, wqe.index, "no remote address segment");
  const bool read = wqe.opcode == mlx5::Opcode::rdma_read;
  const bool with_imm = wqe.opcode == mlx5::Opcode::rdma_write_imm;
  Piece pieces[kMaxPieces];
  uint32_t count;
  uint64_t total;
  const Problem problem =
      gather(qp, wqe, 2, read ? access::local_write : 0, pieces, &count, &total);
  if (problem) return refuse(qp, wqe.index, problem);
  NicQueuePair* responder = responder_of(qp);
  if (responder == nullptr) return refuse(qp, mlx5::Syndrome::retry_exceeded);
  if (with_imm && !responder->receive->ready()) return not_ready(qp);

  const auto raddr = wqe.segment<mlx5::RaddrSeg>(1);
  const MemoryKeys::Want want{raddr.rkey.value(), raddr.raddr.value(), total,
                              read ? access::remote_read : access::remote_write,
                              responder->protection_domain};
  uint8_t* remote = nullptr;
  if (total != 0 && qp.remote->keys_.check(want, &remote) != MemoryKeys::Check::ok) {
    return refuse_remotely(qp, *responder, mlx5::Syndrome::remote_access);
  }
  for (uint32_t i = 0; i < count; ++i) {
    if (read) {
      move_bytes(pieces[i].address, remote, pieces[i].bytes);
    } else {
      move_bytes(remote, pieces[i].address, pieces[i].bytes);
    }
    remote += pieces[i].bytes;
  }
  bytes_ += total;
  if (read) returned_bytes_ = static_cast<uint32_t>(total);
  return with_imm ? deliver(qp, *responder, wqe, nullptr, 0, total) : Outcome::completed;
}

// False if the WQE is no atomic that there is.
bool NicExecutor::atomic_kind(const Fetched& wqe, AtomicKind* kind) {
  kind->masked =
      wqe.opcode == mlx5::Opcode::atomic_masked_fa || wqe.opcode == mlx5::Opcode::atomic_masked_cs;
  kind->is_add =
      wqe.opcode == mlx5::Opcode::atomic_fa || wqe.opcode == mlx5::Opcode::atomic_masked_fa;
  kind->bytes = kind->masked && wqe.opmod == mlx5::kExtendedAtomic4 ? 4 : 8;
  return !kind->masked || kind->bytes == 4 || wqe.opmod == mlx5::kExtendedAtomic8;
}

NicExecutor::Outcome NicExecutor::execute_atomic(NicQueuePair& qp, const Fetched& wqe) {
  AtomicKind kind;
  if (!atomic_kind(wqe, &kind)) {
    return malformed(qp, wqe.index, "extended atomic of unknown size");
  }
  if (!nic_.config_.atomics) return malformed(qp, wqe.index, "this NIC has no atomics");
  if (wqe.segments != 3 + kind.operand_segments()) {
    return malformed(qp, wqe.index, "segment count of an atomic");
  }
  Piece result[kMaxPieces];
  uint32_t count;
  uint64_t total;
  const Problem problem =
      gather(qp, wqe, 2 + kind.operand_segments(), access::local_write, result, &count, &total);
  if (problem) return refuse(qp, wqe.index, problem);
  if (total != kind.bytes) return refuse(qp, mlx5::Syndrome::local_length);
  NicQueuePair* responder = responder_of(qp);
  if (responder == nullptr) return refuse(qp, mlx5::Syndrome::retry_exceeded);
  const auto raddr = wqe.segment<mlx5::RaddrSeg>(1);
  if (raddr.raddr.value() % kind.bytes != 0) {
    return refuse_remotely(qp, *responder, mlx5::Syndrome::remote_invalid_request);
  }
  const MemoryKeys::Want want{raddr.rkey.value(), raddr.raddr.value(), kind.bytes,
                              access::remote_atomic, responder->protection_domain};
  uint8_t* word = nullptr;
  if (qp.remote->keys_.check(want, &word) != MemoryKeys::Check::ok) {
    return refuse_remotely(qp, *responder, mlx5::Syndrome::remote_access);
  }
  const uint64_t before = apply_atomic(word, kind, wqe.bytes + 32);
  returned_bytes_ = kind.bytes;
  PieceCursor{result, count}.copy_from(reinterpret_cast<const uint8_t*>(&before), kind.bytes);
  return Outcome::completed;
}

NicExecutor::Outcome NicExecutor::execute_send(NicQueuePair& qp, const Fetched& wqe) {
  Piece pieces[kMaxPieces];
  uint32_t count;
  uint64_t total;
  const Problem problem = gather(qp, wqe, 1, 0, pieces, &count, &total);
  if (problem) return refuse(qp, wqe.index, problem);
  NicQueuePair* responder = responder_of(qp);
  if (responder == nullptr) return refuse(qp, mlx5::Syndrome::retry_exceeded);
  if (!responder->receive->ready()) return not_ready(qp);
  return deliver(qp, *responder, wqe, pieces, count, total);
}

NicExecutor::Outcome NicExecutor::not_ready(NicQueuePair& qp) {
  if (!retries_without_end(qp) && qp.rnr_visits++ >= qp.rings.rnr_retries) {
    return refuse(qp, mlx5::Syndrome::rnr_retry_exceeded);
  }
  return Outcome::receiver_not_ready;
}

// Where `bytes` go that a receive WQE has been taken for; a syndrome if they cannot.
mlx5::Syndrome NicExecutor::scatter(const Nic& nic, const NicReceiveQueue& queue,
                                    const NicReceiveQueue::Taken& taken, uint64_t bytes,
                                    Piece* pieces, uint32_t* count) {
  *count = 0;
  for (uint32_t i = 0; i < taken.count && bytes != 0 && *count < kMaxPieces; ++i) {
    mlx5::DataSeg seg;
    std::memcpy(&seg, taken.entries + size_t{i} * sizeof(seg), sizeof(seg));
    if (seg.lkey.value() == mlx5::kInvalidKey) break;
    const auto part = static_cast<uint32_t>(std::min<uint64_t>(seg.byte_count.value(), bytes));
    if (part == 0) continue;
    const MemoryKeys::Want want{seg.lkey.value(), seg.addr.value(), part, access::local_write,
                                queue.protection_domain};
    if (nic.keys_.check(want, &pieces[*count].address) != MemoryKeys::Check::ok) {
      return mlx5::Syndrome::local_protection;
    }
    pieces[*count].key = want.key;
    pieces[(*count)++].bytes = part;
    bytes -= part;
  }
  return bytes == 0 ? mlx5::Syndrome{} : mlx5::Syndrome::local_length;
}

// Consumes the responder's oldest receive WQE: scatters `pieces` into it (none for a WRITE with
// immediate, whose payload is already in place) and completes it.
NicExecutor::Outcome NicExecutor::deliver(NicQueuePair& qp, NicQueuePair& responder,
                                          const Fetched& wqe, const Piece* pieces, uint32_t count,
                                          uint64_t bytes) {
  const NicReceiveQueue::Taken taken = responder.receive->take();
  CqeFields fields{mlx5::CqeOpcode::responder_send, taken.index, responder.qpn,
                   static_cast<uint32_t>(bytes),    wqe.imm,     0};
  if (wqe.opcode == mlx5::Opcode::rdma_write_imm)
    fields.opcode = mlx5::CqeOpcode::responder_write_imm;
  if (wqe.opcode == mlx5::Opcode::send_imm) fields.opcode = mlx5::CqeOpcode::responder_send_imm;

  Piece to[kMaxPieces];
  uint32_t to_count = 0;
  if (count > 0) {
    const mlx5::Syndrome problem =
        scatter(*qp.remote, *responder.receive, taken, bytes, to, &to_count);
    if (problem != mlx5::Syndrome{}) {
      fields.opcode = mlx5::CqeOpcode::responder_error;
      fields.error_word = static_cast<uint32_t>(problem);
      write_cqe(*qp.remote, responder, *responder.receive_cq, fields);
      return refuse_remotely(qp, responder,
                             problem == mlx5::Syndrome::local_length
                                 ? mlx5::Syndrome::remote_invalid_request
                                 : mlx5::Syndrome::remote_operation);
    }
  }
  PieceCursor cursor{to, to_count};
  for (uint32_t i = 0; i < count; ++i) cursor.copy_from(pieces[i].address, pieces[i].bytes);
  qp.rnr_visits = 0;
  if (count > 0) bytes_ += bytes;
  write_cqe(*qp.remote, responder, *responder.receive_cq, fields);
  return Outcome::completed;
}

}  // namespace ringer::sim
