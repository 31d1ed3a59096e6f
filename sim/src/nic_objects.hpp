// SPDX-License-Identifier: Apache-2.0
// State of queues and queue pairs inside the NIC.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include <ringer/sim/nic.hpp>

#include "wire_queue_pair.hpp"

namespace ringer::sim {

/// Of one queue pair's send or receive side, or shared.
class NicCompletionQueue {
 public:
  /// What `dbr[1]` holds while nobody waits for an event: no arm request looks like it.
  static constexpr uint32_t kUnarmed = 0xffffffffu;

  CompletionRing ring;
  uint32_t number = 0;
  uint64_t pi = 0;  ///< CQEs written
  NicEvents* events = nullptr;
  void* cookie = nullptr;

  bool has_room() const {
    if (ring.overrun_ignored || ring.collapsed) return true;
    const Be32 consumer{std::atomic_ref(ring.dbr[mlx5::Wire::kCqDbrConsumer].raw)
                            .load(std::memory_order_acquire)};  // pairs with the poller's release
    return ((pi - consumer.value()) & 0xffffff) < ring.count;
  }
  mlx5::Cqe& slot(uint64_t index) const {
    const uint64_t at = ring.collapsed ? 0 : slot_of(index, ring.count);
    return *reinterpret_cast<mlx5::Cqe*>(ring.cqes + (at + 1) * ring.cqe_bytes - sizeof(mlx5::Cqe));
  }
  bool armed() const {
    return events != nullptr && arm_word().load(std::memory_order_relaxed) != kUnarmed;
  }
  /// A CQE has been written; `solicited`, or an error. Tells whoever has armed the queue.
  void signal(bool solicited);

 private:
  std::atomic_ref<uint32_t> arm_word() const { return std::atomic_ref(ring.dbr[1].raw); }
};

/// Receive WQEs of one queue pair, or of all that share it.
class NicReceiveQueue {
 public:
  ReceiveRing ring;
  uint64_t taken = 0;
  uint32_t number = 0;
  uint16_t limit = 0;
  uint16_t next = 0;  ///< linked: the WQE to take next
  uint32_t protection_domain = 0;
  uint32_t user_index = 0;
  uint32_t xrc_domain = 0;
  NicCompletionQueue* cq = nullptr;
  NicEvents* events = nullptr;
  void* cookie = nullptr;

  struct Taken {
    uint64_t index;          ///< what its CQE says
    const uint8_t* entries;  ///< data segments
    uint32_t count;
  };

  uint16_t left() const {
    if (ring.count == 0) return 0;
    const Be32 record{
        std::atomic_ref(ring.dbr->raw).load(std::memory_order_acquire)};  // pairs with the poster
    return static_cast<uint16_t>(record.value() - taken);
  }
  bool ready() const { return left() != 0; }
  /// The oldest one; only if ready().
  Taken take();
};

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
  NicReceiveQueue own_receive;
  NicCompletionQueue own_send_cq;
  NicCompletionQueue own_receive_cq;
  NicReceiveQueue* receive = &own_receive;
  NicCompletionQueue* send_cq = &own_send_cq;
  NicCompletionQueue* receive_cq = &own_receive_cq;
  uint32_t protection_domain = 0;
  uint32_t rnr_visits = 0;
  Nic* remote = nullptr;  ///< linked directly, within the process
  Qpn remote_qpn = 0;
  std::unique_ptr<WireQueuePair> wire;  ///< or by packets
  mlx5::Syndrome first_error{};
  uint64_t first_error_index = 0;
  alignas(64) uint8_t prefetch[kPrefetch][kWqebbBytes];
};

}  // namespace ringer::sim
