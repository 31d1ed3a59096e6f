// SPDX-License-Identifier: Apache-2.0
// Consumes CQEs and turns them into `cons_idx`: how far the NIC is with the send queue. Owns the
// invariant that cons_idx never passes the last completed WQE.
#pragma once

#include <ringer/device_qp.hpp>
#include <ringer/platform.hpp>
#include <ringer/queue_policy.hpp>

namespace ringer {

template <Platform P, class Wire, class Policy>
class CompletionQueue {
 public:
  RINGER_HD CompletionQueue(P p, const DeviceQp& qp) : p_(p), qp_(qp), s_(*qp.state) {}

  /// Takes in what the NIC has reported, without waiting. Errors: the queue's first error, each
  /// time.
  RINGER_HD Status poll() {
    const uint64_t bound = cons_idx();
    const bool collapsed = qp_.cq_mode == CqMode::collapsed;
    const Status status =
        collapsed ? take_in(look_at_collapsed(bound), bound) : poll_owner_bit(bound).status;
    return status.ok() ? error_status() : status;
  }

  /// WQEBBs known complete.
  RINGER_HD uint64_t cons_idx() const {
    // pairs with advance(): release, where others advance it
    return p_.template load<kScope, Order::acquire>(&s_.cons_idx);
  }

  /// How far the NIC is known to be.
  struct Consumed {
    Status status;
    uint64_t cons_idx;
  };

  /// Waits until every WQE below `target` is complete. The WQE at `target - 1`, or a later one,
  /// must be signaled and rung, or nothing will ever arrive.
  /// Errors: qp_error or aborted as the queue's error says, deadline.
  RINGER_HD Consumed wait_consumed(uint64_t target, const WaitLimit& limit, const char* site) {
    const WaitLimit queue_limit = limit.with_queue_error(&s_.error.code);
    return qp_.cq_mode == CqMode::collapsed ? wait_collapsed(target, queue_limit, site)
                                            : wait_owner_bit(target, queue_limit, site);
  }

  /// The queue's first error, or ok.
  RINGER_HD Status error_status() const {
    Status status;
    // pairs with fail(): release
    status.code =
        static_cast<StatusCode>(p_.template load<Scope::sys, Order::acquire>(&s_.error.code));
    if (status.ok()) return status;
    note_read(p_, &s_.error.wqe_index, sizeof(s_.error.wqe_index));
    status.syndrome = s_.error.syndrome;
    status.wqe_index = s_.error.wqe_index;
    status.qpn = qp_.qpn;
    status.peer = qp_.peer;
    return status;
  }

  /// Marks the queue failed with `status` unless it has failed before; every wait on it then ends.
  /// Returns the queue's first error.
  RINGER_HD Status fail(Status status) {
    status.qpn = qp_.qpn;
    status.peer = qp_.peer;
    const uint32_t claimed =
        p_.template exchange<Scope::sys, Order::relaxed>(&s_.error.claimed, 1u);
    if (!guard(p_, "error.claim", claimed != 0)) {
      note_write(p_, &s_.error.wqe_index, sizeof(s_.error.wqe_index));
      s_.error.syndrome = status.syndrome;
      s_.error.wqe_index = status.wqe_index;
      p_.template store<Scope::sys, Order::release>(
          &s_.error.code,
          static_cast<uint32_t>(status.code));  // pairs with error_status(): acquire
      return status;
    }
    const Status first = error_status();
    return first.ok() ? status : first;
  }

  /// What a stopped wait reports: the queue's error, or that the caller's stop word was set.
  RINGER_HD Status stopped_status() const {
    const Status status = error_status();
    return status.ok() ? make_status(StatusCode::aborted) : status;
  }

  /// What a wait for the WQE at `index` reports when its time is up.
  RINGER_HD Status deadline_status(uint64_t index) const {
    Status status = make_status(StatusCode::deadline);
    status.qpn = qp_.qpn;
    status.peer = qp_.peer;
    status.wqe_index = index;
    return status;
  }

 private:
  static constexpr Scope kScope = Policy::kPosterScope;
  static constexpr bool kExclusive = Policy::kSharing == Sharing::exclusive;
  using Tail = typename Wire::CqeTail;

  // What the collapsed CQE says of how far the NIC is.
  struct Report {
    uint64_t cons;  // or the bound, where it says nothing
    Tail tail;
  };

  // `bound` has been read from cons_idx before: it is a lower bound of the CQE's index, so recovery
  // from 16 bits can fall short (a poster far behind) but never overshoot.
  RINGER_HD Report look_at_collapsed(uint64_t bound) const {
    const Tail tail = Tail::of(Be32{p_.template load<Scope::sys, Order::acquire>(
        &cqe_at(0)->tail.raw)});  // pairs with the NIC's CQE write
    const bool says_nothing =
        guard(p_, "cqe.invalid", tail.opcode == Wire::CqeOpcode::invalid) || tail.is_error();
    if (says_nothing) return {bound, tail};
    return {recover_index(bound, static_cast<uint16_t>(tail.wqe_counter + 1)), tail};
  }

  RINGER_HD Status take_in(const Report& report, uint64_t bound) {
    if (report.tail.is_error()) return record_error(*cqe_at(0), bound, report.tail);
    if (report.cons > bound) advance(report.cons);
    return {};
  }

  // Whoever waits looks at the CQE himself: only what is as far as the target is worth an atomic.
  RINGER_HD Consumed wait_collapsed(uint64_t target, const WaitLimit& limit, const char* site) {
    uint64_t bound = 0;
    Report report{};
    // pairs with advance(): release, where others advance it
    const WaitOutcome outcome = p_.template wait_until<kScope, Order::acquire>(
        &s_.cons_idx,
        [&](uint64_t now) {
          bound = now;
          report = {now, {}};
          if (now >= target) return true;
          report = look_at_collapsed(now);
          return report.cons >= target || report.tail.is_error();
        },
        limit, site);
    if (outcome == WaitOutcome::stopped) return {stopped_status(), report.cons};
    if (outcome == WaitOutcome::deadline) return {deadline_status(target - 1), report.cons};
    return {take_in(report, bound), report.cons};
  }

  // A poll's outcome, and the word whose change is the next reason to poll.
  struct Polled {
    Status status;
    uint64_t cons;  // what the NIC has let us know, or the bound
    const uint32_t* next;
    uint32_t seen;
  };

  RINGER_HD Consumed wait_owner_bit(uint64_t target, const WaitLimit& limit, const char* site) {
    uint64_t cons = cons_idx();
    for (;;) {
      if (cons >= target) return {{}, cons};
      const Polled polled = poll_owner_bit(cons);
      if (polled.cons >= target) return {{}, polled.cons};
      if (!polled.status.ok()) return {polled.status, polled.cons};
      // Either the awaited word changes or another poller has already consumed it for us.
      // Relaxed: the next poll acquires.
      const WaitOutcome outcome = p_.template wait_until<Scope::sys, Order::relaxed>(
          polled.next,
          [&](uint32_t now) {
            cons = polled.cons;
            if (now != polled.seen) return true;
            cons = cons_idx();
            return cons >= target;
          },
          limit, site);
      if (outcome == WaitOutcome::stopped) return {stopped_status(), polled.cons};
      if (outcome == WaitOutcome::deadline) return {deadline_status(target - 1), polled.cons};
    }
  }

  RINGER_HD Polled poll_owner_bit(uint64_t bound) {
    if constexpr (!kExclusive) {
      // pairs with the release at the end of this function, in the previous consumer
      const uint32_t held = p_.template exchange<kScope, Order::acquire>(&s_.cq_lock, 1u);
      if (guard(p_, "cq.lock", held != 0)) {
        return {{}, bound, &s_.cq_lock, 1u};
      }
    }
    note_read(p_, &s_.cq_ci, sizeof(s_.cq_ci));
    const uint64_t first = s_.cq_ci;
    uint64_t ci = first;
    uint64_t cons = s_.cons_idx;
    Status status;
    const Be32* word;
    Be32 seen;
    for (;;) {
      const typename Wire::Cqe* cqe = cqe_at(slot_of(ci, qp_.cq_cqes));
      word = &cqe->tail;
      seen.raw = p_.template load<Scope::sys, Order::acquire>(
          &word->raw);  // pairs with the NIC's CQE write
      const Tail tail = Tail::of(seen);
      const bool lap = (ci & qp_.cq_cqes) != 0;
      if (tail.opcode == Wire::CqeOpcode::invalid) break;
      if (guard(p_, "cqe.owner", tail.owner != lap)) break;
      note_read(p_, cqe, sizeof(*cqe));
      ++ci;
      if (tail.is_error()) {
        status = record_error(*cqe, cons, tail);
        break;
      }
      cons = recover_index(cons, static_cast<uint16_t>(tail.wqe_counter + 1));
    }
    if (ci != first) {
      note_write(p_, &s_.cq_ci, sizeof(s_.cq_ci));
      s_.cq_ci = ci;
      // Room for the NIC. Relaxed: it writes to these slots again only for WQEs that were posted
      // with the credit that advance() releases, behind our reads of the CQEs.
      p_.template store<Scope::sys, Order::relaxed>(&qp_.cq_dbr[Wire::kCqDbrConsumer].raw,
                                                    Wire::cq_dbr_value(ci).raw);
      advance(cons);
    }
    if constexpr (!kExclusive) p_.template store<kScope, Order::release>(&s_.cq_lock, 0u);
    return {status, cons, &word->raw, seen.raw};
  }

  // For other pollers, who may be further meanwhile.
  RINGER_HD void advance(uint64_t cons) {
    if constexpr (kExclusive) {
      p_.template store<kScope, Order::relaxed>(&s_.cons_idx, cons);
    } else {
      // pairs with cons_idx(): acquire
      p_.template fetch_max<kScope, Order::release>(&s_.cons_idx, cons);
    }
  }

  // The first error wins; whoever claims the record fills it and then releases the stop word.
  // Another poller of the same CQE reports what it read itself.
  RINGER_HD Status record_error(const typename Wire::Cqe& cqe, uint64_t bound, const Tail& tail) {
    const Be32 word{p_.template load<Scope::sys, Order::relaxed>(&cqe.error_word.raw)};
    Status status = make_status(StatusCode::qp_error);
    status.syndrome = Wire::syndrome_of(word);
    status.wqe_index = recover_index(bound, tail.wqe_counter);
    return fail(status);
  }

  RINGER_HD typename Wire::Cqe* cqe_at(uint32_t slot) const {
    return static_cast<typename Wire::Cqe*>(qp_.cq) + slot;
  }

  P p_;
  const DeviceQp& qp_;
  SqState& s_;
};

}  // namespace ringer
