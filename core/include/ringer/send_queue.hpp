// SPDX-License-Identifier: Apache-2.0
// The send ring: reserve, write, publish, ring. Owns these invariants:
//   - a slot is never written before the WQE that held it has completed (reserve);
//   - ready_head covers only written WQEs, in order (publish);
//   - DBR and doorbell never pass ready_head and never go back (ring, under the publish ticket);
//   - within each half ring at least one WQE is signaled and rung, so that credit always returns.
#pragma once

#include <ringer/completion_queue.hpp>
#include <ringer/device_qp.hpp>
#include <ringer/platform.hpp>
#include <ringer/queue_policy.hpp>

namespace ringer {

/// `count` consecutive WQEs from index `base`, one basic block each.
struct WqeRange {
  uint64_t base = 0;
  uint32_t count = 0;
  RINGER_HD constexpr uint64_t end() const { return base + count; }
};

struct Reserved {
  Status status;
  WqeRange range;
};

/// Ring protocol over one queue pair. The publish ticket is a position in ready_head: the poster
/// whose range starts there takes it by setting the top bit, may ring while it holds it, and passes
/// it on by storing the end of its range. So the doorbell record, the doorbell and prod_idx have
/// one writer at a time and need no lock.
template <Platform P, class WireT, class Policy>
class SendQueue {
 public:
  using Wire = WireT;
  using Wqe = typename Wire::Wqe;

  RINGER_HD SendQueue(P p, const DeviceQp& qp, Policy policy = {})
      : p_(p), qp_(qp), s_(*qp.state), policy_(policy), cq_(p, qp) {}

  /// Most WQEs that one reservation may hold: beyond half a ring a waiting poster could depend on
  /// WQEs that nobody has signaled yet.
  RINGER_HD uint32_t max_reservation() const { return half_ring(); }

  /// Takes `count` slots, waiting for credit. On failure after the slots were taken the queue is
  /// dead anyway (no completion for a whole deadline): it is marked failed so that all posters
  /// leave. Errors: invalid (count is 0 or above max_reservation), deadline, qp_error, aborted.
  RINGER_HD Reserved reserve(uint32_t count, const WaitLimit& limit) {
    if (count == 0 || count > max_reservation()) return {make_status(StatusCode::invalid), {}};
    if (const Status failed = cq_.error_status(); !failed.ok()) return {failed, {}};
    WqeRange range{0, count};
    if constexpr (kExclusive) {
      range.base = s_.resv_head;
      s_.resv_head += count;
    } else {
      // Relaxed: the slots are guarded by credit and by the ticket, not by this counter.
      range.base = p_.template fetch_add<kScope, Order::relaxed>(&s_.resv_head, uint64_t{count});
    }
    if (has_credit(range.end())) return {{}, range};
    Status status = cq_.wait_consumed(range.end() - qp_.sq_wqebbs, limit, "send queue credit");
    if (!status.ok()) status = cq_.fail(status);
    return {status, range};
  }

  /// Takes `count` slots only if there is credit now; polls the completion queue once to find some.
  /// Errors: no_credit, invalid, qp_error, aborted.
  RINGER_HD Reserved try_reserve(uint32_t count) {
    if (count == 0 || count > max_reservation()) return {make_status(StatusCode::invalid), {}};
    const Status polled = cq_.poll();
    if (!polled.ok()) return {polled, {}};
    for (;;) {
      const uint64_t base = p_.template load<kScope, Order::relaxed>(&s_.resv_head);
      if (!has_credit(base + count)) return {make_status(StatusCode::no_credit), {}};
      if constexpr (kExclusive) {
        s_.resv_head = base + count;
        return {{}, {base, count}};
      } else {
        if (p_.template compare_exchange<kScope, Order::relaxed>(&s_.resv_head, base,
                                                                 base + count)) {
          return {{}, {base, count}};
        }
      }
    }
  }

  /// True if the WQE at `index` has to ask for a CQE: the caller's or the policy's wish, or the
  /// last slot of a half ring.
  RINGER_HD bool must_signal(uint64_t index, bool wanted) const {
    return wanted || policy_.signal(index) || (index + 1) % half_ring() == 0;
  }

  /// Stores a WQE built for `index`, which lies in a reserved, unpublished range.
  RINGER_HD void write(uint64_t index, const Wqe& wqe) {
    auto* slot =
        static_cast<uint8_t*>(qp_.sq) + size_t{slot_of(index, qp_.sq_wqebbs)} * kWqebbBytes;
    p_.copy_wqe(slot, wqe.bytes, wqe.segments);
  }

  /// Waits for this range's turn and holds the publish ticket. Between take and release the caller
  /// may still write WQEs whose content depends on their place in the order.
  RINGER_HD Status take_ticket(const WqeRange& range, const WaitLimit& limit) {
    if constexpr (kExclusive) {
      return {};
    } else {
      const WaitLimit queue_limit = limit.with_queue_error(&s_.error.code);
      for (;;) {
        // pairs with release_ticket(): release, in the previous owner
        if (p_.template compare_exchange<kScope, Order::acquire>(&s_.ready_head, range.base,
                                                                 range.base | kTicketHeld)) {
          return {};
        }
        const WaitOutcome outcome = p_.template wait_until<kScope, Order::relaxed>(
            &s_.ready_head, [&](uint64_t head) { return head == range.base; }, queue_limit,
            "publish turn");
        if (outcome == WaitOutcome::done) continue;
        return cq_.fail(outcome == WaitOutcome::stopped ? cq_.stopped_status()
                                                        : cq_.deadline_status(range.base));
      }
    }
  }

  /// Publishes the range whose ticket is held; rings if asked, if the policy says so, or if the
  /// range ends a half ring.
  RINGER_HD void release_ticket(const WqeRange& range, bool ring_wanted) {
    if (ring_wanted || must_ring(range)) announce(range.end());
    // Makes the WQEs visible to whoever rings later; pairs with take_ticket() and ring(): acquire.
    p_.template store<Policy::kNicScope, Order::release>(&s_.ready_head, range.end());
  }

  /// Publishes a written range in order, ringing as release_ticket() says.
  /// Errors: deadline (a poster before us has stalled), qp_error, aborted.
  RINGER_HD Status publish(const WqeRange& range, bool ring_wanted, const WaitLimit& limit) {
    const Status status = take_ticket(range, limit);
    if (status.ok()) release_ticket(range, ring_wanted);
    return status;
  }

  /// Announces everything published so far that has not been announced: the stranded tail.
  RINGER_HD Status ring(const WaitLimit& limit) {
    const WaitLimit queue_limit = limit.with_queue_error(&s_.error.code);
    for (;;) {
      const uint64_t head = p_.template load<kScope, Order::relaxed>(&s_.ready_head);
      if ((head & kTicketHeld) == 0) {
        if constexpr (kExclusive) {
          if (s_.prod_idx < head) announce(head);
          return {};
        } else {
          // Holding the ticket at `head` without a range; pairs with release_ticket(): release.
          if (!p_.template compare_exchange<kScope, Order::acquire>(&s_.ready_head, head,
                                                                    head | kTicketHeld)) {
            continue;
          }
          if (s_.prod_idx < head) announce(head);
          p_.template store<Policy::kNicScope, Order::release>(&s_.ready_head, head);
          return {};
        }
      }
      const WaitOutcome outcome = p_.template wait_until<kScope, Order::relaxed>(
          &s_.ready_head, [](uint64_t now) { return (now & kTicketHeld) == 0; }, queue_limit,
          "publish ticket");
      if (outcome == WaitOutcome::stopped) return cq_.stopped_status();
      if (outcome == WaitOutcome::deadline) return cq_.deadline_status(head & ~kTicketHeld);
    }
  }

  /// Slots that a reservation could take at once, by what has been polled so far.
  /// 0 while posters wait.
  RINGER_HD uint64_t credit() const {
    const uint64_t room_until = cq_.cons_idx() + qp_.sq_wqebbs;
    const uint64_t reserved = resv_head();
    return reserved < room_until ? room_until - reserved : 0;
  }

  /// Reservations handed out so far.
  RINGER_HD uint64_t resv_head() const {
    return p_.template load<kScope, Order::relaxed>(&s_.resv_head);
  }

  RINGER_HD CompletionQueue<P, Wire, Policy>& completions() { return cq_; }
  RINGER_HD const DeviceQp& qp() const { return qp_; }

 private:
  static constexpr Scope kScope = Policy::kPosterScope;
  static constexpr bool kExclusive = Policy::kSharing == Sharing::exclusive;
  static constexpr uint64_t kTicketHeld = uint64_t{1} << 63;

  RINGER_HD uint32_t half_ring() const { return qp_.sq_wqebbs < 2 ? 1 : qp_.sq_wqebbs / 2; }

  // cons_idx() acquires, so that the NIC's last read of the slot is before our first write to it.
  RINGER_HD bool has_credit(uint64_t end) const {
    return end <= qp_.sq_wqebbs || cq_.cons_idx() >= end - qp_.sq_wqebbs;
  }

  RINGER_HD bool must_ring(const WqeRange& range) const {
    return policy_.doorbell(PublishContext{range.base, range.end(), resv_head()}) ||
           range.base / half_ring() != range.end() / half_ring();
  }

  // Ticket held. The record must be visible before the doorbell: a NIC that recovers, or that reads
  // the record when it sees the doorbell, takes its extent from there.
  RINGER_HD void announce(uint64_t prod_idx) {
    s_.prod_idx = prod_idx;
    // Releases the WQEs as well; pairs with the NIC's DBR read.
    p_.template store<Policy::kNicScope, Order::release>(&qp_.dbr[Wire::kDbrSend].raw,
                                                         Wire::dbr_value(prod_idx).raw);
    p_.mmio_store(qp_.doorbell, Wire::doorbell_value(prod_idx, qp_.qpn));
  }

  P p_;
  const DeviceQp& qp_;
  SqState& s_;
  Policy policy_;
  CompletionQueue<P, Wire, Policy> cq_;
};

}  // namespace ringer
