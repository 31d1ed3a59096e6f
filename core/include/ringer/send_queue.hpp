// SPDX-License-Identifier: Apache-2.0
// The send ring: reserve, write, publish, ring. Owns these invariants:
//   - a slot is never written before the WQE that held it has completed (reserve);
//   - ready_head covers only written WQEs, without a gap (publish, ring);
//   - DBR and doorbell never pass ready_head and never go back (ring, under the ticket);
//   - within each half ring at least one WQE is signaled and rung, so that credit always returns.
#pragma once

#include <ringer/completion_queue.hpp>
#include <ringer/device_qp.hpp>
#include <ringer/platform.hpp>
#include <ringer/queue_policy.hpp>
#include <ringer/range_marks.hpp>

namespace ringer {

/// Ring protocol over one queue pair. A shared queue's posters write where they have reserved and
/// publish by a mark: `range_ends` at the range's first slot says where it ends. Nobody waits for
/// his turn to do so. Who wants a doorbell takes the ticket, the top bit of ready_head, collects
/// the marks that follow ready_head without a gap, rings once for all of them and gives the ticket
/// back; whoever wanted to ring meanwhile finds that done. So ready_head, prod_idx, the doorbell
/// record and the doorbell have one writer at a time, and posters that crowd a queue share its
/// doorbells.
///
/// An exclusive queue has no ticket and no marks, and one SendQueue at a time, which keeps the
/// heads in registers. Who hands it over synchronises with who takes it.
template <Platform P, class WireT, class Policy>
class SendQueue {
 public:
  using Wire = WireT;
  using Wqe = typename Wire::Wqe;

  RINGER_HD SendQueue(P p, const DeviceQp& qp, Policy policy = {})
      : p_(p), qp_(qp), s_(*qp.state), policy_(policy), cq_(p, qp), marks_(p, qp) {
    if constexpr (kExclusive) {
      resv_head_ = published_ = resv_head();
      prod_idx_ = p_.template load<kScope, Order::relaxed>(&s_.prod_idx);
    }
  }

  /// Most WQEs that one reservation may hold: beyond half a ring a waiting poster could depend on
  /// WQEs that nobody has signaled yet.
  RINGER_HD uint32_t max_reservation() const { return half_mask_ + 1; }

  /// Takes `count` slots, waiting for credit. On failure after the slots were taken the queue is
  /// dead anyway (no completion for a whole deadline): it is marked failed so that all posters
  /// leave. Errors: invalid (count is 0 or above max_reservation), deadline, qp_error, aborted. A
  /// failure that no wait of this SendQueue has met may go unnoticed as long as the credit known to
  /// it lasts.
  RINGER_HD Reserved reserve(uint32_t count, const WaitLimit& limit) {
    if (guard(p_, "reservation.limit", count - 1 > half_mask_)) {  // 0, too
      return {make_status(StatusCode::invalid), {}};
    }
    WqeRange range{0, count};
    if constexpr (kExclusive) {
      range.base = resv_head_;
      set_resv_head(range.end());
    } else {
      // Both are under way together. Relaxed: the slots are guarded by credit and by the marks.
      range.base = p_.template fetch_add<kScope, Order::relaxed>(&s_.resv_head, uint64_t{count});
      is_next_ = !kServed && p_.template load<kScope, Order::relaxed>(&s_.ready_head) == range.base;
    }
    if (guard(p_, "credit", range.end() > credit_end_)) {
      const Consumed consumed = await_credit(p_, qp_, policy_, range.end(), limit);
      if (!consumed.status.ok()) return {noticed(consumed.status), range};
      credit_end_ = consumed.cons_idx + qp_.sq_wqebbs;
    }
    return {{}, range};
  }

  /// Takes `count` slots only if there is credit now; polls the completion queue once to find some.
  /// Errors: no_credit, invalid, qp_error, aborted.
  RINGER_HD Reserved try_reserve(uint32_t count) {
    if (count - 1 > half_mask_) return {make_status(StatusCode::invalid), {}};  // 0, too
    const Status polled = cq_.poll();
    if (!polled.ok()) return {noticed(polled), {}};
    for (;;) {
      const uint64_t base = resv_head();
      if (!has_credit(base + count)) return {make_status(StatusCode::no_credit), {}};
      if constexpr (kExclusive) {
        set_resv_head(base + count);
        return {{}, {base, count}};
      } else if (p_.template compare_exchange<kScope, Order::relaxed>(&s_.resv_head, base,
                                                                      base + count)) {
        is_next_ = p_.template load<kScope, Order::relaxed>(&s_.ready_head) == base;
        return {{}, {base, count}};
      }
    }
  }

  /// True if the WQE at `index` has to ask for a CQE: the caller's or the policy's wish, or the
  /// last slot of a half ring.
  RINGER_HD bool must_signal(uint64_t index, bool wanted) const {
    return wanted || policy_.signal(index) ||
           guard(p_, "half_ring.signal", ((index + 1) & half_mask_) == 0);
  }

  /// Stores a WQE built for `index`, which lies in a reserved, unpublished range.
  RINGER_HD void write(uint64_t index, const Wqe& wqe) {
    auto* slot =
        static_cast<uint8_t*>(qp_.sq) + size_t{slot_of(index, qp_.sq_wqebbs)} * kWqebbBytes;
    p_.copy_wqe(slot, wqe.bytes, wqe.segments);
  }

  /// Publishes a written range. Rings, for this range and all before it, if asked, if the policy
  /// says so, or if the range ends a half ring: the doorbell has then been stored, by this poster
  /// or by another. Without a ring it never waits. Errors, only of a ring: deadline (a poster
  /// before us has stalled), qp_error, aborted.
  RINGER_HD Status publish(const WqeRange& range, bool ring_wanted, const WaitLimit& limit) {
    const bool rings = must_ring(range, ring_wanted);
    if constexpr (kExclusive) {
      publish_exclusive(range.end(), rings);
      return {};
    } else {
      if (!rings) {
        marks_.set(range);
        return {};
      }
      if (is_next_) {
        is_next_ = false;
        // Nobody is before us: our range needs no mark if the ticket is free, too. What follows it
        // is looked at while the ticket is under way.
        const auto next = marks_.template look_at<Order::relaxed>(range.end());
        if (try_ticket<Order::relaxed>(range.base)) {
          ring_and_pass(marks_.template end_of<Order::relaxed>(next));
          return {};
        }
      }
      marks_.set(range);
      return noticed(ring_to(p_, qp_, policy_, range.end(), limit));
    }
  }

  /// The server's part where RungBy::server: rings until the word at `done` is not zero, and then
  /// once more for what was published before. One at a time.
  /// Errors: deadline, aborted, qp_error. A queue without its server has failed: posters leave,
  /// too.
  RINGER_HD Status serve(const uint32_t* done, const WaitLimit& limit);

  /// Waits until everything below the range is published, and holds the ticket. Until
  /// release_ticket() the caller may still write WQEs whose content depends on their place.
  RINGER_HD Status take_ticket(const WqeRange& range, const WaitLimit& limit) {
    if constexpr (!kExclusive) {
      const WaitLimit queue_limit = limit.with_queue_error(&s_.error.code);
      for (;;) {
        uint64_t head = 0;
        const Status status = await_head(range.base, queue_limit, [&](uint64_t now) {
          head = now;
          const uint64_t first = now & kIndexBits;
          return is_free(now) && (first == range.base || marks_.has(first));
        });
        if (!status.ok()) return noticed(cq_.fail(status));
        if (!try_ticket<Order::acquire>(head)) continue;
        const uint64_t end = marks_.template end_of<Order::acquire>(head & kIndexBits);
        if (end == range.base) return {};
        pass_ticket(end);
      }
    }
    return {};
  }

  /// Publishes the range whose ticket is held and gives the ticket back; rings as publish() does.
  RINGER_HD void release_ticket(const WqeRange& range, bool ring_wanted) {
    const bool rings = must_ring(range, ring_wanted);
    if constexpr (kExclusive) {
      publish_exclusive(range.end(), rings);
    } else if (rings) {
      ring_and_pass(marks_.template end_of<Order::relaxed>(range.end()));
    } else {
      pass_ticket(range.end());
    }
  }

  /// Announces everything published so far that has not been announced: the stranded tail. `again`:
  /// stores the doorbell even if there is nothing new, in case the NIC has lost it.
  RINGER_HD Status ring(const WaitLimit& limit, bool again = false) {
    if (const Status failed = cq_.error_status(); !failed.ok()) return noticed(failed);
    if constexpr (kExclusive) {
      // Relaxed: announce() acquires what publish_exclusive() has released.
      if (kServed) published_ = p_.template load<kScope, Order::relaxed>(&s_.ready_head);
      if (again || prod_idx_ < published_) announce(again ? prod_idx_ : published_);
      return {};
    } else {
      const WaitLimit queue_limit = limit.with_queue_error(&s_.error.code);
      for (;;) {
        uint64_t head = 0, first = 0;
        const Status status = await_head(first, queue_limit, [&](uint64_t now) {
          head = now;
          first = now & kIndexBits;
          return is_free(now);
        });
        if (!status.ok()) return noticed(status);
        const bool more = head != first || guard(p_, "ring.published", marks_.has(first));
        if (!more && !again) return {};
        if (try_ticket<Order::relaxed>(head)) {
          ring_and_pass(marks_.template end_of<Order::relaxed>(first));
          return {};
        }
      }
    }
  }

  /// CompletionQueue::wait_consumed; rings again now and then where a doorbell could be lost.
  RINGER_HD Status wait_consumed(uint64_t target, const WaitLimit& limit, const char* site) {
    return noticed(await_consumed(p_, qp_, policy_, target, limit, site).status);
  }

  /// Slots that a reservation could take at once, by what has been polled; 0 while posters wait.
  RINGER_HD uint64_t credit() const {
    const uint64_t end = cq_.cons_idx() + qp_.sq_wqebbs;
    return resv_head() < end ? end - resv_head() : 0;
  }

  RINGER_HD uint64_t resv_head() const {
    return p_.template load<kScope, Order::relaxed>(&s_.resv_head);
  }
  RINGER_HD CompletionQueue<P, Wire, Policy>& completions() { return cq_; }
  RINGER_HD const DeviceQp& qp() const { return qp_; }

 private:
  static constexpr Scope kScope = Policy::kPosterScope;
  static constexpr Scope kNicScope = Policy::kNicScope;
  static constexpr bool kExclusive = Policy::kSharing == Sharing::exclusive;
  static constexpr bool kServed = Policy::kRungBy == RungBy::server;
  static_assert(!kServed || Policy::kRecord == RecordOrder::before_doorbell,
                "who waits would ring again beside the server");
  // ready_head: somebody holds the ticket; not all below it has been announced.
  static constexpr uint64_t kHeld = uint64_t{1} << 63;
  static constexpr uint64_t kUnrung = uint64_t{1} << 62;
  static constexpr uint64_t kIndexBits = kUnrung - 1;
  using Consumed = typename CompletionQueue<P, Wire, Policy>::Consumed;
  // How long a wait without an end takes a doorbell for merely slow.
  static constexpr uint64_t kRingAgainNs = 1'000'000;

  RINGER_HD bool is_free(uint64_t head) const {
    return !guard(p_, "ticket.held", (head & kHeld) != 0);
  }

  // credit_end_ is where the credit known so far ends: most reservations look no further. Without
  // any, the next one looks at the queue's error first.
  RINGER_HD Status noticed(const Status& status) {
    if (!status.ok()) credit_end_ = 0;
    return status;
  }

  RINGER_HD bool has_credit(uint64_t end) {
    // cons_idx() acquires, so that the NIC's last read of the slot is before our first write to it.
    credit_end_ = cq_.cons_idx() + qp_.sq_wqebbs;
    return end <= credit_end_;
  }

  RINGER_HD void set_resv_head(uint64_t head) {
    resv_head_ = head;
    p_.template store<kScope, Order::relaxed>(&s_.resv_head, head);
  }

  RINGER_HD void publish_exclusive(uint64_t end, bool rings) {
    published_ = end;
    // To the server; pairs with announce(): fence.
    if constexpr (kServed) p_.template store<kScope, Order::release>(&s_.ready_head, end);
    if (rings) announce(end);
  }

  RINGER_HD bool must_ring(const WqeRange& range, bool wanted) const {
    if (kServed) return false;
    const uint32_t place = static_cast<uint32_t>(range.base) & half_mask_;
    return wanted || policy_.doorbell(range.base, range.end(), [this] { return resv_head(); }) ||
           guard(p_, "half_ring.ring", place + range.count > half_mask_);
  }

  // Relaxed where announce(), whose fence acquires, is all that follows.
  template <Order kOrder>
  RINGER_HD bool try_ticket(uint64_t head) {
    // pairs with pass_ticket() and ring_and_pass(): release, in the previous holder
    return p_.template compare_exchange<kScope, kOrder>(&s_.ready_head, head, head | kHeld);
  }

  // Ticket held, nothing rung.
  RINGER_HD void pass_ticket(uint64_t end) {
    const uint64_t rung = p_.template load<kScope, Order::relaxed>(&s_.prod_idx);
    const uint64_t unrung = guard(p_, "unrung.set", rung < end) ? kUnrung : 0;
    // pairs with try_ticket(): acquire
    p_.template store<kScope, Order::release>(&s_.ready_head, end | unrung);
  }

  // Ticket held. The release orders this doorbell before the next holder's.
  RINGER_HD void ring_and_pass(uint64_t end) {
    announce(end);
    p_.template store<kScope, Order::release>(&s_.ready_head, end);  // pairs with try_ticket()
  }

  // The slow ways, out of line. Each works with a SendQueue of its own.

  // What is waited for acquires, so that the NIC's last read of a slot is before our first write to
  // it.
  RINGER_OUT_OF_LINE RINGER_HD static Consumed await_credit(P p, DeviceQp qp, Policy policy,
                                                            uint64_t end, WaitLimit limit) {
    SendQueue queue(p, qp, policy);
    Consumed consumed{queue.cq_.error_status(), 0};
    if (consumed.status.ok()) {
      const uint64_t target = end < qp.sq_wqebbs ? 0 : end - qp.sq_wqebbs;
      consumed = await_consumed(p, qp, policy, target, limit, "send queue credit");
    }
    if (!consumed.status.ok()) consumed.status = queue.cq_.fail(consumed.status);
    return consumed;
  }

  RINGER_OUT_OF_LINE RINGER_HD static Consumed await_consumed(P p, DeviceQp qp, Policy policy,
                                                              uint64_t target, WaitLimit limit,
                                                              const char* site) {
    SendQueue queue(p, qp, policy);
    if constexpr (Policy::kRecord == RecordOrder::trailing) {
      for (;;) {
        const WaitLimit slice = limit_after(p, kRingAgainNs, limit.stop);
        if (slice.expires_ns >= limit.expires_ns) break;
        const Consumed consumed = queue.cq_.wait_consumed(target, slice, site);
        if (consumed.status.code != StatusCode::deadline) return consumed;
        if (const Status rung = queue.ring(limit, true); !rung.ok()) {
          return {rung, consumed.cons_idx};
        }
      }
    }
    return queue.cq_.wait_consumed(target, limit, site);
  }

  // Our range is marked: either we get the ticket and ring, or another holder does it for us.
  RINGER_OUT_OF_LINE RINGER_HD static Status ring_to(P p, DeviceQp qp, Policy policy, uint64_t goal,
                                                     WaitLimit limit) {
    SendQueue queue(p, qp, policy);
    limit.queue_error = &queue.s_.error.code;
    for (;;) {
      uint64_t head = 0;
      const auto is_rung = [&] {
        return (head & kIndexBits) >= goal && !guard(p, "unrung.seen", (head & kUnrung) != 0);
      };
      const Status status = queue.await_head(goal, limit, [&](uint64_t now) {
        head = now;
        if (is_rung()) return true;
        const uint64_t first = now & kIndexBits;
        return queue.is_free(now) && (first >= goal || queue.marks_.has(first));
      });
      if (!status.ok()) return queue.cq_.fail(status);
      if (is_rung()) return {};
      if (!queue.template try_ticket<Order::relaxed>(head)) continue;
      const uint64_t end = queue.marks_.template end_of<Order::relaxed>(head & kIndexBits);
      queue.ring_and_pass(end);
      if (end >= goal) return {};
    }
  }

  // Waits until ready_head is as `wanted` says. A report names `goal` as it is then.
  template <class Wanted>
  RINGER_HD Status await_head(const uint64_t& goal, const WaitLimit& limit, Wanted&& wanted) {
    const WaitOutcome outcome = p_.template wait_until<kScope, Order::relaxed>(
        &s_.ready_head, wanted, limit, "publish turn");
    if (outcome == WaitOutcome::stopped) return cq_.stopped_status();
    if (outcome == WaitOutcome::deadline) return cq_.deadline_status(goal);
    return {};
  }

  // Ticket held, or exclusive. A NIC that recovers a lost doorbell, or that reads the record when
  // it sees the doorbell, takes its extent from the record.
  RINGER_HD void announce(uint64_t prod_idx) {
    constexpr bool kTrails = Policy::kRecord == RecordOrder::trailing;
    uint32_t* record = &qp_.dbr[Wire::kDbrSend].raw;
    const uint32_t extent = Wire::dbr_value(prod_idx).raw;
    // Acquires what try_ticket() and end_of() have read and releases all of it with our own WQEs to
    // the NIC.
    p_.template fence<kNicScope, Order::acq_rel>();
    p_.template store<kScope, Order::relaxed>(&s_.prod_idx, prod_idx);
    if constexpr (kExclusive) prod_idx_ = prod_idx;
    if constexpr (kExclusive && !kServed) {
      p_.template store<kScope, Order::relaxed>(&s_.ready_head, prod_idx);
    }
    if constexpr (!kTrails) {
      p_.template store<Scope::sys, Order::relaxed>(record, extent);
      p_.template fence<kNicScope, Order::release>();  // pairs with the NIC's DBR read
    }
    p_.mmio_store(qp_.doorbell, Wire::doorbell_value(prod_idx, qp_.qpn));
    if constexpr (kTrails) p_.template store<Scope::sys, Order::relaxed>(record, extent);
  }

  P p_;
  const DeviceQp& qp_;
  SqState& s_;
  Policy policy_;
  CompletionQueue<P, Wire, Policy> cq_;
  RangeMarks<P, kScope> marks_;
  // Of an index: its place in its half ring.
  uint32_t half_mask_ = qp_.sq_wqebbs < 2 ? 0 : qp_.sq_wqebbs / 2 - 1;
  uint64_t credit_end_ = 0;
  bool is_next_ = false;    // all before what we have reserved last had been published; a hint
  uint64_t resv_head_ = 0;  // exclusive: as in SqState
  uint64_t published_ = 0;  // exclusive: all before it is written
  uint64_t prod_idx_ = 0;   // exclusive: all before it is announced
};

}  // namespace ringer

#include <ringer/queue_server.hpp>
