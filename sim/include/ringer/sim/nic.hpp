// SPDX-License-Identifier: Apache-2.0
// The software NIC: executes the mlx5 WQEs it finds in memory and writes mlx5 CQEs. It knows raw
// pointers only, so any front-end (native queues, emulated verbs) can put queues in front of it.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <unordered_map>
#include <vector>

#include <ringer/kernel_memory.hpp>
#include <ringer/mlx5/wire.hpp>
#include <ringer/sim/memory_keys.hpp>
#include <ringer/sim/verbs_nic.hpp>
#include <ringer/sim/violations.hpp>

namespace ringer::sim {

class Fabric;
class Nic;
class PacketLinks;

struct NicConfig {
  uint32_t max_queue_pairs = 8192;
  uint32_t max_sq_wqebbs = mlx5::Wire::kMaxSqWqebbs;
  bool atomics = true;
  /// Where the doorbell registers lie: kernels that ring them must reach it.
  KernelMemory* memory = &host_memory();
  /// Carries the packets of queue pairs that a verbs front-end has made.
  PacketLinks* links = nullptr;
};

/// A queue pair as the NIC sees it.
struct QueuePairRings {
  uint8_t* sq = nullptr;
  uint32_t sq_wqebbs = 0;  ///< power of two
  mlx5::DataSeg* rq = nullptr;
  uint32_t rq_wqes = 0;    ///< power of two or 0; one scatter entry each
  Be32* dbr = nullptr;     ///< {receive, send}
  CompletionRing send_cq;  ///< its CQEs are all invalid when it is handed over
  CompletionRing receive_cq;
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

struct NicQueuePair;

/// One NIC of a fabric. Everything that creates or destroys goes through the fabric's gate, which
/// keeps the engine out meanwhile; `step` is the engine and has one caller at a time.
class Nic {
 public:
  Nic(Fabric& fabric, uint32_t id, const NicConfig& config);
  ~Nic();
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
  // For a verbs front-end. Objects are destroyed by whoever has created them, users first.

  uint32_t register_range(const MemoryRange& range);
  /// Same key, other range or rights.
  void change_range(uint32_t key, const MemoryRange& range);
  /// A memory window that is not bound yet: WQEs bind it. Destroyed by deregister_memory().
  uint32_t allocate_window(uint32_t protection_domain);
  NicCompletionQueue* create_completion_queue(const CompletionRing& ring, uint32_t number,
                                              NicEvents* events, void* cookie);
  /// From now on CQEs go to `ring`; the old one ends with a resize CQE.
  void resize_completion_queue(NicCompletionQueue* queue, const CompletionRing& ring);
  void destroy_completion_queue(NicCompletionQueue* queue);
  /// `cq` only where XRC receives come to it.
  NicReceiveQueue* create_receive_queue(const ReceiveRing& ring, uint32_t protection_domain,
                                        NicCompletionQueue* cq, uint32_t user_index,
                                        uint32_t xrc_domain, NicEvents* events, void* cookie);
  static uint32_t number_of(const NicReceiveQueue* queue);
  /// Once fewer than `limit` WQEs are left, AsyncEvent::srq_limit_reached; then the limit is 0.
  void set_limit(NicReceiveQueue* queue, uint32_t limit);
  uint32_t limit_of(const NicReceiveQueue* queue) const;
  void destroy_receive_queue(NicReceiveQueue* queue);
  void add_uar(UarPage* page);
  void remove_uar(UarPage* page);
  Qpn create_queue_pair(const VerbsQueuePairSetup& setup);
  /// The front-end has checked the transition.
  void modify_queue_pair(Qpn qpn, const VerbsQueuePairAttributes& attributes);
  QueuePairState state_of(Qpn qpn) const;
  /// Of the next packet to send and to receive (mlx5 QPC: next_send_psn, next_rcv_psn).
  struct NextPsns {
    uint32_t send, receive;
  };
  NextPsns next_psns(Qpn qpn) const;

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

  /// A packet for a queue pair of this NIC.
  void take_packet(const uint8_t* packet, uint32_t bytes);
  /// Whether somebody may be asleep until a CQE comes.
  bool awaited() const;
  /// One for a port that no NIC has.
  void refuse_packet(const uint8_t* packet, uint32_t bytes);
  /// A process that packets went to has gone.
  void forget_process(uint32_t process);

 private:
  friend class NicExecutor;
  friend class WireEngine;
  // A request that nobody takes, to be answered when the link has room.
  struct Refusal {
    Qpn from, to;
    uint16_t from_lid, to_lid;
    uint16_t attempt;
    uint32_t psn;
  };
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
  NicQueuePair* find_wired(Qpn qpn) const;
  NicQueuePair& wired(Qpn qpn, const char* verb) const;
  Qpn next_wired_qpn();
  bool see_uars();
  void see_record(NicQueuePair& qp);
  void look_for_lost_doorbells();
  void activate(NicQueuePair& qp);
  void forget(NicQueuePair& qp);
  void forget_key(uint32_t key);
  void forget_messages_to(const NicCompletionQueue* queue);
  void reset(NicQueuePair& qp);
  void destroy_wired(Qpn qpn);
  static constexpr uint64_t kReported = ~uint64_t{0};

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
  // Of verbs front-ends.
  struct Uar {
    UarPage* page;
    std::vector<NicQueuePair*> queue_pairs;
  };
  std::unordered_map<Qpn, std::unique_ptr<NicQueuePair>> wired_;
  uint16_t last_wired_ = 0;
  std::vector<std::unique_ptr<NicCompletionQueue>> completion_queues_;
  std::vector<std::unique_ptr<NicReceiveQueue>> receive_queues_;
  uint32_t last_receive_queue_ = 0;
  std::vector<Uar> uars_;
  std::vector<NicQueuePair*> responding_;
  std::deque<Refusal> refusals_;
  uint64_t doorbells_checked_ns_ = 0;
  uint32_t turns_ = 0;
};

}  // namespace ringer::sim
