// SPDX-License-Identifier: Apache-2.0
// Executes the WQEs of one NIC: fetch, check, move, complete.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <string>

#include <ringer/sim/nic.hpp>

#include "nic_move.hpp"
#include "nic_objects.hpp"

namespace ringer::sim {

/// A basic block in hexadecimal, for violations.
std::string dump_wqebb(const uint8_t* bytes);

/// Adds to a counter that has one writer: no read-modify-write needed.
inline void count(std::atomic<uint64_t>& counter, uint64_t n) {
  counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}

class NicExecutor {
 public:
  explicit NicExecutor(Nic& nic) : nic_(nic) {}
  ~NicExecutor();
  NicExecutor(const NicExecutor&) = delete;
  NicExecutor& operator=(const NicExecutor&) = delete;

  /// Copies authorised WQEBBs, as far as the prefetch window reaches.
  static void prefetch(NicQueuePair& qp);

  /// Executes up to `budget` WQEs of `qp`; returns how many, a finite retry among them. 0 with work
  /// left: the receiver is not ready and the sender waits without end.
  uint32_t run(NicQueuePair& qp, uint32_t budget);

  /// Completes the posted receives of a queue pair in error as flushed.
  void flush_receives(NicQueuePair& qp);

  /// First error of a queue pair: an error CQE for the WQE at sq_ci, then everything is flushed.
  void fail(NicQueuePair& qp, mlx5::Syndrome syndrome);

  /// From now on everything is flushed.
  void enter_error(NicQueuePair& qp);

 private:
  friend class WireEngine;

  enum class Outcome { completed, failed, receiver_not_ready };

  // One fetched WQE: contiguous bytes, and what its control segment says.
  struct Fetched {
    const uint8_t* bytes;
    uint64_t index;
    uint32_t segments;
    uint32_t wqebbs;
    mlx5::Opcode opcode;
    uint8_t opmod;
    bool signaled;
    Be32 imm;

    template <class Seg>
    Seg segment(uint32_t position) const {
      Seg seg;
      std::memcpy(&seg, bytes + size_t{position} * 16, sizeof(Seg));
      return seg;
    }
  };

  // Why a WQE cannot be executed.
  struct Problem {
    mlx5::Syndrome syndrome{};
    const char* malformed = nullptr;  // what is wrong with the WQE itself
    ViolationKind kind = ViolationKind::wqe_malformed;
    explicit operator bool() const { return syndrome != mlx5::Syndrome{}; }
  };

  Problem fetch(NicQueuePair& qp, Fetched& wqe);
  Outcome execute(NicQueuePair& qp, const Fetched& wqe);
  Outcome execute_rdma(NicQueuePair& qp, const Fetched& wqe);
  Outcome execute_atomic(NicQueuePair& qp, const Fetched& wqe);
  Outcome execute_send(NicQueuePair& qp, const Fetched& wqe);
  static bool atomic_kind(const Fetched& wqe, AtomicKind* kind);
  Outcome malformed(NicQueuePair& qp, uint64_t index, const char* what,
                    ViolationKind kind = ViolationKind::wqe_malformed);
  Outcome refuse(NicQueuePair& qp, mlx5::Syndrome syndrome);
  Outcome refuse(NicQueuePair& qp, uint64_t index, const Problem& problem);
  Outcome refuse_remotely(NicQueuePair& qp, NicQueuePair& responder, mlx5::Syndrome syndrome);

  NicQueuePair* responder_of(NicQueuePair& qp) const;
  Problem gather(const NicQueuePair& qp, const Fetched& wqe, uint32_t first_segment,
                 uint32_t access, Piece* pieces, uint32_t* count, uint64_t* total) const;
  static mlx5::Syndrome scatter(const Nic& nic, const NicReceiveQueue& queue,
                                const NicReceiveQueue::Taken& taken, uint64_t bytes, Piece* pieces,
                                uint32_t* count);
  Outcome deliver(NicQueuePair& qp, NicQueuePair& responder, const Fetched& wqe,
                  const Piece* pieces, uint32_t count, uint64_t bytes);
  Outcome not_ready(NicQueuePair& qp);
  // 7 is InfiniBand's "retry for ever".
  static bool retries_without_end(const NicQueuePair& qp) { return qp.rings.rnr_retries == 7; }
  void complete(NicQueuePair& qp, const Fetched& wqe);
  void flush_one(NicQueuePair& qp);
  void complete(NicQueuePair& qp, uint64_t index, mlx5::Opcode opcode, uint32_t returned_bytes);
  void report_error(NicQueuePair& qp, mlx5::Syndrome syndrome, uint64_t index);

  static constexpr uint32_t kOwnUser = ~0u;  // the queue pair's
  struct CqeFields {
    mlx5::CqeOpcode opcode;
    uint64_t index;
    uint32_t opcode_qpn;
    uint32_t byte_cnt;
    Be32 imm;
    uint32_t error_word;
    uint32_t user_index = kOwnUser;
    bool solicited = false;
    uint16_t slid = 0;
    uint32_t flags_rqpn = 0;
  };
  static bool write_cqe(Nic& nic, NicQueuePair& qp, NicCompletionQueue& cq,
                        const CqeFields& fields);

  Nic& nic_;
  uint64_t wqes_ = 0;
  uint64_t cqes_ = 0;
  uint64_t bytes_ = 0;
  uint32_t returned_bytes_ = 0;  // by the WQE at hand, if it is a READ or an atomic
  alignas(64) uint8_t wide_[NicQueuePair::kPrefetch * kWqebbBytes];
};

}  // namespace ringer::sim
