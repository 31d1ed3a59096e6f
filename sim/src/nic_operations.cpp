// SPDX-License-Identifier: Apache-2.0
// What each opcode does once its WQE has been fetched: resolve keys, move bytes, or refuse.
#include <atomic>
#include <cstring>

#include <ringer/control_plane.hpp>

#include "nic_executor.hpp"

namespace ringer::sim {

namespace {

// A 4- or 8-byte aligned write lands in one piece and after everything before it, as PCIe gives it
// to a poller: it may be a flag. Pairs with the poller's acquire.
void move(uint8_t* to, const uint8_t* from, uint32_t bytes) {
  if (bytes == 8 && reinterpret_cast<uint64_t>(to) % 8 == 0) {
    uint64_t value;
    std::memcpy(&value, from, 8);
    std::atomic_ref(*reinterpret_cast<uint64_t*>(to)).store(value, std::memory_order_release);
  } else if (bytes == 4 && reinterpret_cast<uint64_t>(to) % 4 == 0) {
    uint32_t value;
    std::memcpy(&value, from, 4);
    std::atomic_ref(*reinterpret_cast<uint32_t*>(to)).store(value, std::memory_order_release);
  } else if (bytes == 64) {
    std::memmove(to, from, 64);
  } else {
    std::memmove(to, from, bytes);  // both ends may be one process's and overlap
  }
}

template <class T, class Update>
T atomic_update(uint64_t address, Update&& update) {
  std::atomic_ref<T> word(*reinterpret_cast<T*>(address));
  T before = word.load(std::memory_order_relaxed);
  while (!word.compare_exchange_weak(before, update(before), std::memory_order_acq_rel,
                                     std::memory_order_relaxed)) {
  }
  return before;
}

// Adds field by field: `boundary` has the top bit of each field set, where the carry must stop.
template <class T>
T masked_add(T value, T addend, T boundary) {
  return static_cast<T>(((value & ~boundary) + (addend & ~boundary)) ^
                        ((value ^ addend) & boundary));
}

template <class T>
T masked_swap(T value, T compare, T swap, T compare_mask, T swap_mask) {
  const bool equal = ((value ^ compare) & compare_mask) == 0;
  return equal ? static_cast<T>((value & ~swap_mask) | (swap & swap_mask)) : value;
}

}  // namespace

// Null: nobody answers at the other end.
NicQueuePair* NicExecutor::responder_of(NicQueuePair& qp) const {
  if (!qp.remote->powered_) return nullptr;
  NicQueuePair* responder = qp.remote->find_queue_pair(qp.remote_qpn);
  if (responder == nullptr || responder->state != NicQueuePair::State::ready) return nullptr;
  return responder;
}

// Resolves the data segments from `first_segment` on. Returns their number, or -1 with the queue
// pair in error.
int NicExecutor::gather(NicQueuePair& qp, const Fetched& wqe, uint32_t first_segment,
                        uint32_t access, Piece* pieces, uint64_t* total) {
  int count = 0;
  *total = 0;
  for (uint32_t seg = first_segment; seg < wqe.segments; ++count) {
    const auto data = wqe.segment<mlx5::DataSeg>(seg);
    const uint32_t byte_count = data.byte_count.value();
    if ((byte_count & mlx5::kInlineFlag) != 0) {
      const uint32_t bytes = byte_count & ~mlx5::kInlineFlag;
      const uint32_t segments = static_cast<uint32_t>((uint64_t{bytes} + 4 + 15) / 16);
      if (segments > wqe.segments - seg || (access & access::local_write) != 0) {
        malformed(qp, wqe.index, "inline data beyond the WQE, or where data must be returned");
        return -1;
      }
      pieces[count] = {const_cast<uint8_t*>(wqe.bytes) + size_t{seg} * 16 + 4, bytes};
      seg += segments;
    } else if (byte_count == 0) {
      malformed(qp, wqe.index, "a data segment of 0 bytes, which a NIC takes for 2 GiB");
      return -1;
    } else {
      const uint64_t address = data.addr.value();
      if (nic_.keys_.check(data.lkey.value(), address, byte_count, access) !=
          MemoryKeys::Check::ok) {
        refuse(qp, mlx5::Syndrome::local_protection);
        return -1;
      }
      pieces[count] = {reinterpret_cast<uint8_t*>(address), byte_count};
      ++seg;
    }
    *total += pieces[count].bytes;
  }
  if (*total > mlx5::Wire::kMaxMessageBytes) {
    refuse(qp, mlx5::Syndrome::local_length);
    return -1;
  }
  return count;
}

NicExecutor::Outcome NicExecutor::execute_rdma(NicQueuePair& qp, const Fetched& wqe) {
  if (wqe.segments < 2) return malformed(qp, wqe.index, "no remote address segment");
  const bool read = wqe.opcode == mlx5::Opcode::rdma_read;
  const bool with_imm = wqe.opcode == mlx5::Opcode::rdma_write_imm;
  Piece pieces[kMaxPieces];
  uint64_t total;
  const int count = gather(qp, wqe, 2, read ? access::local_write : 0, pieces, &total);
  if (count < 0) return Outcome::failed;
  NicQueuePair* responder = responder_of(qp);
  if (responder == nullptr) return refuse(qp, mlx5::Syndrome::retry_exceeded);
  if (with_imm && !receive_ready(*responder)) return not_ready(qp);

  const auto raddr = wqe.segment<mlx5::RaddrSeg>(1);
  auto* remote = reinterpret_cast<uint8_t*>(raddr.raddr.value());
  const uint32_t right = read ? access::remote_read : access::remote_write;
  if (total != 0 && qp.remote->keys_.check(raddr.rkey.value(), raddr.raddr.value(), total, right) !=
                        MemoryKeys::Check::ok) {
    return refuse_remotely(qp, *responder, mlx5::Syndrome::remote_access);
  }
  for (int i = 0; i < count; ++i) {
    if (read) {
      move(pieces[i].address, remote, pieces[i].bytes);
    } else {
      move(remote, pieces[i].address, pieces[i].bytes);
    }
    remote += pieces[i].bytes;
  }
  bytes_ += total;
  if (read) returned_bytes_ = static_cast<uint32_t>(total);
  return with_imm ? deliver(qp, *responder, wqe, nullptr, 0, total) : Outcome::completed;
}

NicExecutor::Outcome NicExecutor::execute_atomic(NicQueuePair& qp, const Fetched& wqe) {
  const bool masked =
      wqe.opcode == mlx5::Opcode::atomic_masked_fa || wqe.opcode == mlx5::Opcode::atomic_masked_cs;
  const bool add_op =
      wqe.opcode == mlx5::Opcode::atomic_fa || wqe.opcode == mlx5::Opcode::atomic_masked_fa;
  const bool four = masked && wqe.opmod == mlx5::kExtendedAtomic4;
  if (masked && !four && wqe.opmod != mlx5::kExtendedAtomic8) {
    return malformed(qp, wqe.index, "extended atomic of unknown size");
  }
  if (!nic_.config_.atomics) return malformed(qp, wqe.index, "this NIC has no atomics");
  const uint32_t bytes = four ? 4 : 8;
  const uint32_t operand_segments = masked && !add_op && !four ? 2 : 1;
  if (wqe.segments != 3 + operand_segments)
    return malformed(qp, wqe.index, "segment count of an atomic");

  Piece result[kMaxPieces];
  uint64_t total;
  const int count = gather(qp, wqe, 2 + operand_segments, access::local_write, result, &total);
  if (count < 0) return Outcome::failed;
  if (total != bytes) return refuse(qp, mlx5::Syndrome::local_length);
  NicQueuePair* responder = responder_of(qp);
  if (responder == nullptr) return refuse(qp, mlx5::Syndrome::retry_exceeded);
  const auto raddr = wqe.segment<mlx5::RaddrSeg>(1);
  const uint64_t address = raddr.raddr.value();
  if (address % bytes != 0)
    return refuse_remotely(qp, *responder, mlx5::Syndrome::remote_invalid_request);
  if (qp.remote->keys_.check(raddr.rkey.value(), address, bytes, access::remote_atomic) !=
      MemoryKeys::Check::ok) {
    return refuse_remotely(qp, *responder, mlx5::Syndrome::remote_access);
  }

  uint64_t before = 0;
  if (four && add_op) {
    const auto op = wqe.segment<mlx5::MaskedFetchAdd4Seg>(2);
    before = atomic_update<uint32_t>(
        address, [&](uint32_t v) { return masked_add(v, op.add.value(), op.boundary.value()); });
  } else if (four) {
    const auto op = wqe.segment<mlx5::MaskedCompareSwap4Seg>(2);
    before = atomic_update<uint32_t>(address, [&](uint32_t v) {
      return masked_swap(v, op.compare.value(), op.swap.value(), op.compare_mask.value(),
                         op.swap_mask.value());
    });
  } else {
    // 8 bytes. In a masked fetch-and-add the second word is the boundary; the masks of a masked
    // compare-and-swap follow in a segment of their own.
    const auto op = wqe.segment<mlx5::AtomicSeg>(2);
    const uint64_t first = op.swap_add.value();
    const uint64_t second = op.compare.value();
    mlx5::AtomicSeg masks{{~uint64_t{0}}, {~uint64_t{0}}};
    if (operand_segments == 2) masks = wqe.segment<mlx5::AtomicSeg>(3);
    before = atomic_update<uint64_t>(address, [&](uint64_t v) {
      if (add_op) return masked_add(v, first, masked ? second : 0);
      return masked_swap(v, second, first, masks.compare.value(), masks.swap_add.value());
    });
  }
  const uint8_t* from = reinterpret_cast<const uint8_t*>(&before);
  returned_bytes_ = bytes;
  for (int i = 0; i < count; ++i) {
    move(result[i].address, from, result[i].bytes);
    from += result[i].bytes;
  }
  return Outcome::completed;
}

NicExecutor::Outcome NicExecutor::execute_send(NicQueuePair& qp, const Fetched& wqe) {
  Piece pieces[kMaxPieces];
  uint64_t total;
  const int count = gather(qp, wqe, 1, 0, pieces, &total);
  if (count < 0) return Outcome::failed;
  NicQueuePair* responder = responder_of(qp);
  if (responder == nullptr) return refuse(qp, mlx5::Syndrome::retry_exceeded);
  if (!receive_ready(*responder)) return not_ready(qp);
  return deliver(qp, *responder, wqe, pieces, count, total);
}

bool NicExecutor::receive_ready(NicQueuePair& responder) {
  if (responder.rings.rq_wqes == 0) return false;
  const Be32 record{std::atomic_ref(responder.rings.dbr[mlx5::Wire::kDbrReceive].raw)
                        .load(std::memory_order_acquire)};  // pairs with post_receive's release
  return static_cast<uint16_t>(record.value()) != static_cast<uint16_t>(responder.rq_ci);
}

NicExecutor::Outcome NicExecutor::not_ready(NicQueuePair& qp) {
  if (!retries_without_end(qp) && qp.rnr_visits++ >= qp.rings.rnr_retries) {
    return refuse(qp, mlx5::Syndrome::rnr_retry_exceeded);
  }
  return Outcome::receiver_not_ready;
}

// Consumes the responder's oldest receive WQE: scatters `pieces` into it (none for a WRITE with
// immediate, whose payload is already in place) and completes it.
NicExecutor::Outcome NicExecutor::deliver(NicQueuePair& qp, NicQueuePair& responder,
                                          const Fetched& wqe, const Piece* pieces, int count,
                                          uint64_t bytes) {
  const mlx5::DataSeg& seg = responder.rings.rq[slot_of(responder.rq_ci, responder.rings.rq_wqes)];
  uint64_t address = seg.addr.value();
  CqeFields fields{mlx5::CqeOpcode::responder_send, responder.rq_ci, responder.qpn,
                   static_cast<uint32_t>(bytes),    wqe.imm,         0};
  if (wqe.opcode == mlx5::Opcode::rdma_write_imm)
    fields.opcode = mlx5::CqeOpcode::responder_write_imm;
  if (wqe.opcode == mlx5::Opcode::send_imm) fields.opcode = mlx5::CqeOpcode::responder_send_imm;

  if (count > 0) {
    auto problem = mlx5::Syndrome{};
    if (bytes > seg.byte_count.value()) {
      problem = mlx5::Syndrome::local_length;
    } else if (qp.remote->keys_.check(seg.lkey.value(), address, bytes, access::local_write) !=
               MemoryKeys::Check::ok) {
      problem = mlx5::Syndrome::local_protection;
    }
    if (problem != mlx5::Syndrome{}) {
      fields.opcode = mlx5::CqeOpcode::responder_error;
      fields.error_word = static_cast<uint32_t>(problem);
      ++responder.rq_ci;
      write_cqe(*qp.remote, responder, responder.rings.receive_cq, responder.receive_cq_pi, fields);
      return refuse_remotely(qp, responder,
                             problem == mlx5::Syndrome::local_length
                                 ? mlx5::Syndrome::remote_invalid_request
                                 : mlx5::Syndrome::remote_operation);
    }
  }
  for (int i = 0; i < count; ++i) {
    move(reinterpret_cast<uint8_t*>(address), pieces[i].address, pieces[i].bytes);
    address += pieces[i].bytes;
  }
  qp.rnr_visits = 0;
  ++responder.rq_ci;
  if (count > 0) bytes_ += bytes;
  write_cqe(*qp.remote, responder, responder.rings.receive_cq, responder.receive_cq_pi, fields);
  return Outcome::completed;
}

}  // namespace ringer::sim
