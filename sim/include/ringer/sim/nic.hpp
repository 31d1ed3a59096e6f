// SPDX-License-Identifier: Apache-2.0
// The software NIC: executes the mlx5 WQEs it finds in memory and writes mlx5 CQEs. It knows raw
// pointers only, so any front-end (native queues, emulated verbs) can put queues in front of it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include <ringer/kernel_memory.hpp>
#include <ringer/mlx5/wire.hpp>
#include <ringer/sim/memory_keys.hpp>
#include <ringer/sim/violations.hpp>

namespace ringer::sim {

class Fabric;
class Nic;

struct NicConfig {
  uint32_t max_queue_pairs = 8192;
  uint32_t max_sq_wqebbs = mlx5::Wire::kMaxSqWqebbs;
  bool atomics = true;
  /// Where the doorbell registers lie: kernels that ring them must reach it.
  KernelMemory* memory = &host_memory();
};

/// A completion queue as the NIC sees it. Its CQEs are all invalid when it is handed over.
struct CqRing {
  mlx5::Cqe* cqes = nullptr;
  uint32_t count = 0;  ///< power of two
  Be32* dbr = nullptr;
  bool collapsed = false;        ///< every completion overwrites CQE 0
  bool overrun_ignored = false;  ///< cqc.oi: no room check
};

/// A queue pair as the NIC sees it.
struct QueuePairRings {
  uint8_t* sq = nullptr;
  uint32_t sq_wqebbs = 0;  ///< power of two
  mlx5::DataSeg* rq = nullptr;
  uint32_t rq_wqes = 0;  ///< power of two or 0; one scatter entry each
  Be32* dbr = nullptr;   ///< {receive, send}
  CqRing send_cq;
  CqRing receive_cq;
  uint64_t start_index = 0;
  uint32_t rnr_retries = 7;  ///< visits to a not-ready receiver before RNR_EXC; 7 = without end
  bool record_may_trail = false;  ///< a record behind its doorbell is no violation
};

/// What a NIC has done. Written by its engine only; read by anybody, each value by itself.
struct NicCounters {
  std::atomic<uint64_t> doorbells{0};
  std::atomic<uint64_t> wqes{0};
  std::atomic<uint64_t> cqes{0};
  std::atomic<uint64_t> error_cqes{0};
  std::atomic<uint64_t> bytes_moved{0};
};

/// State of a queue pair inside the NIC.
struct NicQueuePair {
  // WQEBBs fetched ahead of execution, at most. A real NIC prefetches; what it has fetched, a
  // poster can no longer change.
  static constexpr uint32_t kPrefetch = 16;

  enum class State { reset, ready, error };

  QueuePairRings rings;
  Qpn qpn = 0;
  State state = State::reset;
  bool active = false;   ///< in the NIC's list of queue pairs with work
  uint64_t sq_pi = 0;    ///< authorised by doorbell and DBR
  uint64_t sq_ci = 0;    ///< executed
  uint64_t fetched = 0;  ///< copied to `prefetch`
  uint64_t rq_ci = 0;
  uint64_t send_cq_pi = 0;
  uint64_t receive_cq_pi = 0;
  uint32_t rnr_visits = 0;
  Nic* remote = nullptr;
  Qpn remote_qpn = 0;
  mlx5::Syndrome first_error{};
  uint64_t first_error_index = 0;
  alignas(64) uint8_t prefetch[kPrefetch][kWqebbBytes];
};

/// One NIC of a fabric. Everything that creates or destroys goes through the fabric's gate, which
/// keeps the engine out meanwhile; `step` is the engine and has one caller at a time.
class Nic {
 public:
  Nic(Fabric& fabric, uint32_t id, const NicConfig& config);
  ~Nic() = default;
  Nic(const Nic&) = delete;
  Nic& operator=(const Nic&) = delete;

  uint32_t register_memory(void* address, uint64_t bytes, uint32_t access);
  void deregister_memory(uint32_t key);

  /// Errors: BackendError when the NIC is full or the geometry is not one it can serve.
  Qpn create_queue_pair(const QueuePairRings& rings);
  /// The UAR register of a queue pair: 8 bytes that nobody else rings.
  uint64_t* doorbell_of(Qpn qpn);
  void connect(Qpn qpn, Nic& remote, Qpn remote_qpn);
  void destroy_queue_pair(Qpn qpn);
  /// WQEBBs that the NIC is through with, counted like the queue pair's heads.
  uint64_t executed(Qpn qpn) const;
  /// First error of a queue pair, as an error CQE's syndrome (0 = none), and the WQE it struck.
  uint32_t first_error(Qpn qpn, uint64_t* index) const;
  /// The NIC dies: it neither executes nor answers; its peers see transport retry exceeded.
  void power_off();

  /// One turn of the engine: look at the doorbells, then execute at most `wqe_budget` WQEs. True if
  /// anything was done.
  bool step(uint32_t wqe_budget);

  uint32_t id() const { return id_; }
  const NicConfig& config() const { return config_; }
  const NicCounters& counters() const { return counters_; }
  const ViolationLog& violations() const { return violations_; }
  uint32_t queue_pairs() const { return live_queue_pairs_; }
  size_t memory_regions() const { return keys_.live(); }

 private:
  friend class NicExecutor;
  // A queue pair number is generation << 16 | first + slot, so that a late packet for a destroyed
  // queue pair does not reach the next one in its slot.
  static constexpr Qpn kFirstQpn = 0x100;
  static constexpr uint32_t kMaxSlots = 0x10000 - kFirstQpn;
  static constexpr uint32_t kTurnWqes = 64;  // WQEs of one queue pair before the next has its turn

  bool see_doorbells();
  void see_doorbell(NicQueuePair& qp, uint64_t value);
  static constexpr uint32_t slot_of_qpn(Qpn qpn) { return (qpn & 0xffff) - kFirstQpn; }
  NicQueuePair* find_queue_pair(Qpn qpn) const;
  NicQueuePair& queue_pair(Qpn qpn, const char* verb) const;

  Fabric& fabric_;
  uint32_t id_;
  NicConfig config_;
  bool powered_ = true;
  MemoryKeys keys_;
  ViolationLog violations_;
  NicCounters counters_;
  KernelArray<uint64_t> doorbells_;  // register i belongs to the queue pair at slot i
  uint32_t slots_used_ = 0;
  uint32_t live_queue_pairs_ = 0;
  std::vector<std::unique_ptr<NicQueuePair>> queue_pairs_;
  std::vector<uint8_t> generations_;
  std::vector<uint32_t> free_slots_;
  std::vector<NicQueuePair*> active_;
  std::vector<NicQueuePair*> flushing_;  // in error, with a receive ring
  size_t turn_ = 0;
};

}  // namespace ringer::sim
