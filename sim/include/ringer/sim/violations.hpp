// SPDX-License-Identifier: Apache-2.0
// What the software NIC saw that a ConnectX would reject, or that works only by luck.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include <ringer/types.hpp>

namespace ringer::sim {

enum class ViolationKind {
  doorbell_malformed,        ///< names no queue pair of this register
  dbr_behind_doorbell,       ///< the record does not cover what the doorbell announces
  dbr_receive_slot_written,  ///< the receive element moved on a queue pair without receive ring
  producer_beyond_ring,      ///< more announced than the ring holds: a slot was overwritten
  wqe_index_mismatch,        ///< control segment's index is not the slot's: stale or overwritten
  wqe_malformed,             ///< wrong qpn, opcode, segment count or segment
  wqe_changed,               ///< bytes changed between fetch and execution
  doorbell_missing,          ///< the record has moved and nobody has rung for a long time
  cq_overrun,                ///< a CQE would have overwritten one that nobody has consumed
};

const char* to_string(ViolationKind kind);

struct Violation {
  ViolationKind kind;
  uint32_t nic;
  Qpn qpn;
  uint64_t index;      ///< WQE or CQE index concerned
  std::string detail;  ///< what was found and what was expected, with bytes where they matter
};

/// "nic 0 qpn 256 index 5: doorbell record behind the doorbell: ..."
std::string to_string(const Violation& violation);

/// Collects violations of one NIC. Reporting is rare and may lock.
class ViolationLog {
 public:
  void report(Violation violation);
  uint64_t count() const { return count_.load(std::memory_order_acquire); }
  /// The first ones, up to a bound; `count` knows how many there were in all.
  std::vector<Violation> first() const;

 private:
  static constexpr size_t kKept = 64;
  std::atomic<uint64_t> count_{0};
  mutable std::mutex mutex_;
  std::vector<Violation> kept_;
};

}  // namespace ringer::sim
