// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>
#include <cstring>

#include <ringer/control_plane.hpp>

#include "nic_executor.hpp"

namespace ringer::sim {

namespace {

constexpr uint32_t kRetriesWithoutEnd = 7;  // the InfiniBand value of an RNR retry count

void add(std::atomic<uint64_t>& counter, uint64_t n) {  // one writer: no read-modify-write needed
  counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}

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
    std::memcpy(to, from, 64);
  } else {
    std::memcpy(to, from, bytes);
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

std::string dump(const uint8_t* bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (uint32_t i = 0; i < kWqebbBytes; ++i) {
    if (i % 16 == 0) text += ' ';
    text += kDigits[bytes[i] >> 4];
    text += kDigits[bytes[i] & 0xf];
  }
  return text;
}

}  // namespace

NicExecutor::~NicExecutor() {
  add(nic_.counters_.wqes, wqes_);
  add(nic_.counters_.cqes, cqes_);
  add(nic_.counters_.bytes_moved, bytes_);
}

void NicExecutor::prefetch(NicQueuePair& qp) {
  const uint64_t limit = std::min(qp.sq_pi, qp.sq_ci + NicQueuePair::kPrefetch);
  for (; qp.fetched < limit; ++qp.fetched) {
    std::memcpy(qp.prefetch[qp.fetched % NicQueuePair::kPrefetch],
                qp.rings.sq + size_t{slot_of(qp.fetched, qp.rings.sq_wqebbs)} * kWqebbBytes,
                kWqebbBytes);
  }
}

uint32_t NicExecutor::run(NicQueuePair& qp, uint32_t budget) {
  uint32_t done = 0;
  while (done < budget && qp.sq_ci != qp.sq_pi) {
    if (qp.state == NicQueuePair::State::error) {
      flush_one(qp);
      ++done;
      continue;
    }
    Fetched wqe;
    if (fetch(qp, wqe)) {
      const Outcome outcome = execute(qp, wqe);
      if (outcome == Outcome::receiver_not_ready) {
        if (qp.rings.rnr_retries != kRetriesWithoutEnd) ++done;  // one retry fewer is progress
        break;
      }
      if (outcome == Outcome::completed) complete(qp, wqe);
      if (outcome == Outcome::failed) qp.sq_ci += wqe.wqebbs - 1;  // `fail` counted one block
    }
    ++done;
    ++wqes_;
  }
  return done;
}

// False: the WQE was refused and the queue pair is in error.
bool NicExecutor::fetch(NicQueuePair& qp, Fetched& wqe) {
  prefetch(qp);
  const uint8_t* copy = qp.prefetch[qp.sq_ci % NicQueuePair::kPrefetch];
  mlx5::CtrlSeg ctrl;
  std::memcpy(&ctrl, copy, sizeof(ctrl));
  const uint32_t word0 = ctrl.opmod_idx_opcode.value();
  const uint32_t word1 = ctrl.qpn_ds.value();
  wqe = {copy,
         qp.sq_ci,
         word1 & 0x3f,
         std::max(1u, ((word1 & 0x3f) * 16 + kWqebbBytes - 1) / kWqebbBytes),
         static_cast<mlx5::Opcode>(word0 & 0xff),
         static_cast<uint8_t>(word0 >> 24),
         (ctrl.fm_ce_se & 0x0c) == mlx5::ctrl_flag::cq_update,
         ctrl.imm};
  if (((word0 >> 8) & 0xffff) != (qp.sq_ci & 0xffff)) {
    nic_.violations_.report(
        {ViolationKind::wqe_index_mismatch, nic_.id_, qp.qpn, qp.sq_ci,
         "control segment says " + std::to_string((word0 >> 8) & 0xffff) + ":" + dump(copy)});
    refuse(qp, mlx5::Syndrome::local_qp_operation);
    return false;
  }
  const char* problem = nullptr;
  if (word1 >> 8 != qp.qpn) problem = "another queue pair's number";
  if (wqe.segments == 0) problem = "no segments";
  if (qp.sq_ci + wqe.wqebbs > qp.sq_pi) problem = "more blocks than were announced";
  if (problem != nullptr) {
    malformed(qp, qp.sq_ci, problem);
    return false;
  }
  for (uint32_t i = 0; i < wqe.wqebbs; ++i) {
    const uint64_t index = qp.sq_ci + i;
    const uint8_t* live = qp.rings.sq + size_t{slot_of(index, qp.rings.sq_wqebbs)} * kWqebbBytes;
    const uint8_t* fetched = qp.prefetch[index % NicQueuePair::kPrefetch];
    if (std::memcmp(live, fetched, kWqebbBytes) != 0) {
      nic_.violations_.report({ViolationKind::wqe_changed, nic_.id_, qp.qpn, index,
                               "fetched" + dump(fetched) + ", now" + dump(live)});
    }
    if (wqe.wqebbs > 1) std::memcpy(wide_ + size_t{i} * kWqebbBytes, fetched, kWqebbBytes);
  }
  if (wqe.wqebbs > 1) wqe.bytes = wide_;
  return true;
}

NicExecutor::Outcome NicExecutor::execute(NicQueuePair& qp, const Fetched& wqe) {
  if (qp.state != NicQueuePair::State::ready)
    return malformed(qp, wqe.index, "queue pair not connected");
  switch (wqe.opcode) {
    case mlx5::Opcode::nop:
      return Outcome::completed;
    case mlx5::Opcode::rdma_write:
    case mlx5::Opcode::rdma_write_imm:
    case mlx5::Opcode::rdma_read:
      return execute_rdma(qp, wqe);
    case mlx5::Opcode::atomic_cs:
    case mlx5::Opcode::atomic_fa:
    case mlx5::Opcode::atomic_masked_cs:
    case mlx5::Opcode::atomic_masked_fa:
      return execute_atomic(qp, wqe);
    case mlx5::Opcode::send:
    case mlx5::Opcode::send_imm:
      return execute_send(qp, wqe);
  }
  return malformed(qp, wqe.index, "unknown opcode");
}

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
  if (qp.rings.rnr_retries != kRetriesWithoutEnd && qp.rnr_visits++ >= qp.rings.rnr_retries) {
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

void NicExecutor::complete(NicQueuePair& qp, const Fetched& wqe) {
  qp.sq_ci += wqe.wqebbs;
  if (!wqe.signaled) return;
  const CqeFields fields{mlx5::CqeOpcode::requester,
                         wqe.index,
                         (static_cast<uint32_t>(wqe.opcode) << 24) | qp.qpn,
                         0,
                         {},
                         0};
  if (write_cqe(nic_, qp, qp.rings.send_cq, qp.send_cq_pi, fields)) ++cqes_;
}

NicExecutor::Outcome NicExecutor::malformed(NicQueuePair& qp, uint64_t index, const char* what) {
  nic_.violations_.report(
      {ViolationKind::wqe_malformed, nic_.id_, qp.qpn, index,
       std::string(what) + ":" + dump(qp.prefetch[index % NicQueuePair::kPrefetch])});
  return refuse(qp, mlx5::Syndrome::local_qp_operation);
}

NicExecutor::Outcome NicExecutor::refuse(NicQueuePair& qp, mlx5::Syndrome syndrome) {
  fail(qp, syndrome);
  return Outcome::failed;
}

// A responder that refuses a request goes to error itself (InfiniBand class C responder errors).
NicExecutor::Outcome NicExecutor::refuse_remotely(NicQueuePair& qp, NicQueuePair& responder,
                                                  mlx5::Syndrome syndrome) {
  NicExecutor(*qp.remote).enter_error(responder);
  return refuse(qp, syndrome);
}

void NicExecutor::fail(NicQueuePair& qp, mlx5::Syndrome syndrome) {
  if (qp.first_error == mlx5::Syndrome{}) {
    qp.first_error = syndrome;
    qp.first_error_index = qp.sq_ci;
  }
  report_error(qp, syndrome, qp.sq_ci);
  if (qp.sq_ci != qp.sq_pi) ++qp.sq_ci;
  enter_error(qp);
}

void NicExecutor::enter_error(NicQueuePair& qp) {
  if (qp.state == NicQueuePair::State::error) return;
  qp.state = NicQueuePair::State::error;
  if (qp.rings.rq_wqes == 0) return;
  while (receive_ready(qp)) {
    const CqeFields fields{mlx5::CqeOpcode::responder_error,
                           qp.rq_ci,
                           qp.qpn,
                           0,
                           {},
                           static_cast<uint32_t>(mlx5::Syndrome::flushed)};
    ++qp.rq_ci;
    if (!write_cqe(nic_, qp, qp.rings.receive_cq, qp.receive_cq_pi, fields)) break;
  }
}

// Each WQE after the first error gets a CQE, signaled or not. Blocks that hold no WQE of their own
// are the tail of a multi-block one.
void NicExecutor::flush_one(NicQueuePair& qp) {
  const uint8_t* slot = qp.rings.sq + size_t{slot_of(qp.sq_ci, qp.rings.sq_wqebbs)} * kWqebbBytes;
  mlx5::CtrlSeg ctrl;
  std::memcpy(&ctrl, slot, sizeof(ctrl));
  const uint64_t index = qp.sq_ci;
  const uint32_t segments = ctrl.qpn_ds.value() & 0x3f;
  const uint64_t wqebbs = std::max(1u, (segments * 16 + kWqebbBytes - 1) / kWqebbBytes);
  qp.sq_ci += std::min(wqebbs, qp.sq_pi - qp.sq_ci);
  qp.fetched = std::max(qp.fetched, qp.sq_ci);
  report_error(qp, mlx5::Syndrome::flushed, index);
}

void NicExecutor::report_error(NicQueuePair& qp, mlx5::Syndrome syndrome, uint64_t index) {
  const CqeFields fields{mlx5::CqeOpcode::requester_error, index, qp.qpn, 0, {},
                         static_cast<uint32_t>(syndrome)};
  add(nic_.counters_.error_cqes, 1);
  write_cqe(nic_, qp, qp.rings.send_cq, qp.send_cq_pi, fields);
}

// The tail word goes last and releases the rest; pairs with the poller's acquire. The other words
// are stored as atomics because a collapsed CQE is rewritten under its readers. False: the queue is
// full.
bool NicExecutor::write_cqe(Nic& nic, NicQueuePair& qp, CqRing& cq, uint64_t& cq_pi,
                            const CqeFields& fields) {
  if (!cq.overrun_ignored && !cq.collapsed) {
    const Be32 consumer{std::atomic_ref(cq.dbr[mlx5::Wire::kCqDbrConsumer].raw)
                            .load(std::memory_order_acquire)};  // pairs with the poller's release
    if (((cq_pi - consumer.value()) & 0xffffff) >= cq.count) {
      nic.violations_.report({ViolationKind::cq_overrun, nic.id_, qp.qpn, cq_pi,
                              "consumer index " + std::to_string(consumer.value()) + ", " +
                                  std::to_string(cq.count) + " CQEs"});
      qp.state = NicQueuePair::State::error;
      return false;
    }
  }
  mlx5::Cqe& cqe = cq.cqes[cq.collapsed ? 0 : slot_of(cq_pi, cq.count)];
  const auto put = [](Be32& word, Be32 value) {
    std::atomic_ref(word.raw).store(value.raw, std::memory_order_relaxed);
  };
  put(cqe.imm, fields.imm);
  put(cqe.byte_cnt, Be32::of(fields.byte_cnt));
  put(cqe.error_word, Be32::of(fields.error_word));
  put(cqe.opcode_qpn, Be32::of(fields.opcode_qpn));
  const mlx5::CqeTail tail{static_cast<uint16_t>(fields.index), fields.opcode,
                           (cq_pi & cq.count) != 0};
  std::atomic_ref(cqe.tail.raw).store(tail.word().raw, std::memory_order_release);
  ++cq_pi;
  return true;
}

}  // namespace ringer::sim
