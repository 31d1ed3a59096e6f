// SPDX-License-Identifier: Apache-2.0
// Device-to-host command ring: the path of a kernel that cannot ring a NIC itself. Kernels push
// 32-byte commands, a host proxy posts them. Owns the invariant that a command is never overwritten
// before the proxy has taken it.
#pragma once

#include <cstdint>

#include <ringer/device_qp.hpp>
#include <ringer/platform.hpp>
#include <ringer/types.hpp>

namespace ringer {

enum class FifoOp : uint32_t { put = 1, put_value = 2, add_value = 3 };

/// One command as it lies in the ring. `tag` is the low half of its ticket plus one, stored last: a
/// slot of an earlier lap, or an untouched one, never carries the tag that the proxy expects.
struct alignas(32) FifoCommand {
  uint64_t tag_op_queue;   ///< tag | op << 32 | queue << 40
  uint64_t remote_offset;  ///< into the peer's window
  uint64_t payload;        ///< put: offset into the own window; else the value
  uint32_t bytes;          ///< of put
  uint32_t peer;

  RINGER_HD static constexpr uint32_t tag_of(uint64_t ticket) {
    return static_cast<uint32_t>(ticket) + 1;
  }
  RINGER_HD constexpr uint32_t tag() const { return static_cast<uint32_t>(tag_op_queue); }
  RINGER_HD constexpr FifoOp op() const { return static_cast<FifoOp>((tag_op_queue >> 32) & 0xff); }
  RINGER_HD constexpr uint32_t queue() const { return static_cast<uint32_t>(tag_op_queue >> 40); }
};
static_assert(sizeof(FifoCommand) == 32);

/// Heads of one command ring, each written by one side only.
struct FifoState {
  alignas(64) uint64_t head;     ///< commands handed out to kernels (kernels write)
  alignas(64) uint64_t tail;     ///< commands the proxy has taken: credit (proxy writes)
  uint64_t done;                 ///< commands whose transfers are complete (proxy writes)
  alignas(64) QueueError error;  ///< first failure of any of the proxy's queue pairs
  Qpn error_qpn;
  uint32_t error_peer;
};

struct DeviceFifo {
  FifoCommand* commands;
  uint32_t depth;  ///< power of two
  FifoState* state;
};

/// Kernel side of a command ring.
template <Platform P>
class Fifo {
 public:
  RINGER_HD Fifo(P p, const DeviceFifo& fifo) : p_(p), fifo_(fifo), s_(*fifo.state) {}

  /// Appends a command, waiting for credit. Errors: deadline, qp_error, aborted.
  RINGER_HD Status push(FifoOp op, uint32_t queue, uint32_t peer, uint64_t remote_offset,
                        uint64_t payload, uint32_t bytes, const WaitLimit& limit) {
    if (const Status failed = error_status(); !failed.ok()) return failed;
    // Relaxed: a slot is guarded by the credit below and published by its tag.
    const uint64_t ticket =
        p_.template fetch_add<Scope::gpu, Order::relaxed>(&s_.head, uint64_t{1});
    const WaitOutcome outcome = p_.template wait_until<Scope::sys, Order::acquire>(
        &s_.tail,
        [&](uint64_t tail) {
          // pairs with the proxy's release
          return !guard(p_, "fifo.credit", ticket >= tail + fifo_.depth);
        },
        limit.with_queue_error(&s_.error.code), "fifo credit");
    if (outcome != WaitOutcome::done) return abandoned(outcome);
    FifoCommand& slot = fifo_.commands[ticket & (fifo_.depth - 1)];
    note_write(p_, &slot, sizeof(slot));
    slot.remote_offset = remote_offset;
    slot.payload = payload;
    slot.bytes = bytes;
    slot.peer = peer;
    // pairs with the proxy's tag read: acquire; also releases the payload that the command names
    p_.template store<Scope::sys, Order::release>(
        &slot.tag_op_queue, uint64_t{FifoCommand::tag_of(ticket)} |
                                (static_cast<uint64_t>(op) << 32) | (uint64_t{queue} << 40));
    return {};
  }

  /// Waits until every command pushed so far has completed at the NIC.
  RINGER_HD Status flush(const WaitLimit& limit) {
    const uint64_t head = p_.template load<Scope::gpu, Order::relaxed>(&s_.head);
    const WaitOutcome outcome = p_.template wait_until<Scope::sys, Order::acquire>(
        &s_.done, [&](uint64_t done) { return done >= head; },  // pairs with the proxy's release
        limit.with_queue_error(&s_.error.code), "fifo flush");
    if (outcome == WaitOutcome::deadline) return make_status(StatusCode::deadline);
    // Commands that a failed queue pair swallowed count as done, too.
    const Status failed = error_status();
    if (outcome == WaitOutcome::done || !failed.ok()) return failed;
    return make_status(StatusCode::aborted);
  }

  RINGER_HD Status error_status() const {
    Status status;
    // pairs with the proxy's release of the error record
    status.code =
        static_cast<StatusCode>(p_.template load<Scope::sys, Order::acquire>(&s_.error.code));
    if (status.ok()) return status;
    note_read(p_, &s_.error_qpn, sizeof(s_.error_qpn) + sizeof(s_.error_peer));
    status.syndrome = s_.error.syndrome;
    status.wqe_index = s_.error.wqe_index;
    status.qpn = s_.error_qpn;
    status.peer = s_.error_peer;
    return status;
  }

 private:
  // The ticket leaves a hole that the proxy will never pass, so the ring is failed for everybody.
  RINGER_HD Status abandoned(WaitOutcome outcome) {
    const StatusCode code =
        outcome == WaitOutcome::deadline ? StatusCode::deadline : StatusCode::aborted;
    const uint32_t claimed =
        p_.template exchange<Scope::sys, Order::relaxed>(&s_.error.claimed, 1u);
    if (!guard(p_, "fifo.error.claim", claimed != 0)) {
      note_write(p_, &s_.error_qpn, sizeof(s_.error_qpn) + sizeof(s_.error_peer));
      s_.error_peer = kNoPeer;
      p_.template store<Scope::sys, Order::release>(
          &s_.error.code, static_cast<uint32_t>(code));  // pairs with error_status()
    }
    const Status first = error_status();
    return first.ok() ? make_status(code) : first;
  }

  P p_;
  const DeviceFifo& fifo_;
  FifoState& s_;
};

}  // namespace ringer
