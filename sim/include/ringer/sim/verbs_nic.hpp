// SPDX-License-Identifier: Apache-2.0
// What a verbs front-end asks of a NIC beside native queues: completion and receive queues that
// queue pairs share, UAR pages that they share, transports, the state machine, and events.
#pragma once

#include <cstdint>
#include <optional>

#include <ringer/mlx5/wire.hpp>
#include <ringer/sim/link_address.hpp>
#include <ringer/types.hpp>

namespace ringer::sim {

/// Asynchronous events, numbered as ibv_event_type.
enum class AsyncEvent : uint32_t {
  cq_error = 0,
  qp_fatal = 1,
  qp_request_error = 2,
  qp_access_error = 3,
  communication_established = 4,
  sq_drained = 5,
  srq_error = 14,
  srq_limit_reached = 15,
  last_wqe_reached = 16,
};

/// Whoever is told of events. Called by the engine inside the gate: must neither block nor call the
/// NIC. `cookie` is the one that the object was created with.
class NicEvents {
 public:
  virtual ~NicEvents() = default;
  /// A CQE has come to a completion queue that was armed for it.
  virtual void completion(void* cookie) = 0;
  virtual void async(AsyncEvent event, void* cookie) = 0;
};

/// Numbered as ibv_qp_type; an XRC target has no queues of its own.
enum class Transport : uint8_t { rc = 2, uc = 3, ud = 4, xrc_initiator = 9, xrc_target = 10 };

/// Numbered as ibv_qp_state.
enum class QueuePairState : uint8_t { reset, init, rtr, rts, sqd, sqe, error };

/// A page of doorbell registers: 8-byte words at 0x800 + n * 0x100, rung by all queue pairs bound
/// to it.
struct UarPage {
  uint64_t* registers = nullptr;  ///< the page, 4096 bytes
};

struct CompletionRing {
  uint8_t* cqes = nullptr;
  uint32_t count = 0;            ///< power of two
  uint32_t cqe_bytes = 64;       ///< 64 or 128; of 128 the second half is the CQE
  Be32* dbr = nullptr;           ///< {consumer index, arm}
  bool collapsed = false;        ///< every completion overwrites CQE 0
  bool overrun_ignored = false;  ///< cqc.oi: no room check
};

struct ReceiveRing {
  uint8_t* wqes = nullptr;
  uint32_t count = 0;   ///< power of two; 0: none
  uint32_t stride = 0;  ///< bytes of a WQE, a power of two from 16 up
  Be32* dbr = nullptr;  ///< how many have been posted, low 16 bits
  bool linked = false;  ///< a shared receive queue: each WQE begins with the number of the next one
};

class NicCompletionQueue;
class NicReceiveQueue;  ///< a shared one

struct VerbsQueuePairSetup {
  Transport transport = Transport::rc;
  uint32_t protection_domain = 0;
  uint8_t* sq = nullptr;
  uint32_t sq_wqebbs = 0;  ///< power of two; 0: sends nothing
  ReceiveRing receive;     ///< own receive queue, or none
  NicReceiveQueue* shared_receive = nullptr;
  Be32* dbr = nullptr;  ///< {receive, send}
  NicCompletionQueue* send_cq = nullptr;
  NicCompletionQueue* receive_cq = nullptr;
  UarPage* uar = nullptr;
  bool signal_all = false;  ///< each WQE completes, asked for or not
  uint32_t user_index = 0;  ///< what its CQEs carry as uidx
  uint32_t xrc_domain = 0;
  LinkLayer link = LinkLayer::infiniband;
  NicEvents* events = nullptr;
  void* cookie = nullptr;
};

/// All that modify_qp has set so far, which the front-end keeps.
struct VerbsQueuePairAttributes {
  QueuePairState state = QueuePairState::reset;
  uint32_t access = 0;  ///< ringer::access bits that peers have
  uint32_t qkey = 0;
  Qpn remote_qpn = 0;
  uint16_t lid = 1;  ///< of the port it is bound to
  uint16_t remote_lid = 0;
  uint32_t send_psn = 0;
  uint32_t receive_psn = 0;
  uint32_t mtu_bytes = 1024;
  uint8_t retry_count = 7;
  uint8_t rnr_retry = 7;
  uint8_t min_rnr_timer = 0;
  uint8_t timeout = 14;            ///< 4.096 us * 2^timeout; 0: none
  uint32_t max_reads = 1;          ///< outstanding READs and atomics as initiator
  bool tell_when_drained = false;  ///< in SQD
};

/// A registered range, or a memory window into one.
struct MemoryRange {
  uint64_t start = 0;  ///< the address that WQEs use
  uint64_t bytes = 0;
  uint8_t* host = nullptr;  ///< where that is here
  uint32_t access = 0;      ///< ringer::access bits
  uint32_t protection_domain = 0;
  uint32_t parent = 0;     ///< of a window: the key of the memory it is bound to
  bool on_demand = false;  ///< pages may come and go: looked at when they are used
  /// The low byte of its key, where that is its owner's choice; else the slot's next one.
  std::optional<uint8_t> key_variant = {};
};

}  // namespace ringer::sim
