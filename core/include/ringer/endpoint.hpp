// SPDX-License-Identifier: Apache-2.0
// The device API: one-sided operations over one queue pair. Each builds its WQE, posts it through
// SendQueue and returns a ticket that `wait` or `flush` turns into "complete".
//
// "Your data has arrived" can be said in three ways; which one holds depends on the fabric:
//   strict write   put ..., then `signal` (or put_inline) on the same queue pair: needs write
//   order; remote atomic  put ..., then `fetch_add`: holds where writes may pass writes but not
//   atomics; count          a `fetch_add` of 1 behind each put, on any queue pairs: `wait_signal`
//   for n of them
//                  needs no order between the puts.
#pragma once

#include <ringer/mlx5/wire.hpp>
#include <ringer/send_queue.hpp>

namespace ringer {

/// Per-post wishes. Unsignaled, un-rung posts are legal: the queue signals and rings once per half
/// ring by itself, and `flush` rings what is left.
struct PostFlags {
  bool signaled = true;
  bool ring = true;
};

/// One past the index of the last WQE of a post: the value `cons_idx` must reach.
struct Ticket {
  uint64_t target = 0;
};

struct Posted {
  Status status;
  Ticket ticket;
};

/// A counter that one queue pair's posters write to a peer in increasing order. `sequence` lives
/// beside the queue pair and belongs to this queue pair alone.
struct SignalSlot {
  RemoteRef remote;
  uint64_t* sequence;
};

/// Operations of one poster (a thread, or the leader of a warp) on a queue pair.
template <Platform P, class Policy = QueuePolicy<>, class Wire = mlx5::Wire>
class Endpoint {
 public:
  using Head = typename Wire::Head;

  /// `qp` must outlive the endpoint.
  RINGER_HD Endpoint(P p, const DeviceQp& qp, Policy policy = {}) : sq_(p, qp, policy) {}

  Endpoint(P p, DeviceQp&& qp, Policy policy = {}) = delete;

  /// False if `qp` was made by a host with another layout of it: check once, at launch.
  RINGER_HD bool compatible() const { return sq_.qp().layout_stamp == kDeviceQpStamp; }

  /// Writes `bytes` at `local` to `remote`. Zero bytes is a WRITE without a data segment; more than
  /// the NIC's largest message is split.
  /// Errors (of every post): deadline, qp_error, aborted; invalid as said.
  RINGER_HD Posted put(const LocalRef& local, const RemoteRef& remote, uint64_t bytes,
                       PostFlags flags, const WaitLimit& limit) {
    return transfer(local, remote, bytes, flags, limit, Wire::make_write);
  }

  /// Reads `bytes` at `remote` into `local`, split like `put`. The data is there once the ticket is
  /// complete.
  RINGER_HD Posted get(const LocalRef& local, const RemoteRef& remote, uint64_t bytes,
                       PostFlags flags, const WaitLimit& limit) {
    return transfer(local, remote, bytes, flags, limit, Wire::make_read);
  }

  /// `put` that also consumes one of the peer's receive WQEs and hands it `imm`.
  /// Errors: invalid above the NIC's largest message, since one completion cannot stand for
  /// several.
  RINGER_HD Posted put_with_imm(const LocalRef& local, const RemoteRef& remote, uint64_t bytes,
                                uint32_t imm, PostFlags flags, const WaitLimit& limit) {
    if (bytes > Wire::kMaxMessageBytes) return {make_status(StatusCode::invalid), {}};
    return post_one(flags, limit, [&](const Head& head) {
      return Wire::make_write_imm(head, local, remote, static_cast<uint32_t>(bytes), imm);
    });
  }

  /// Writes a 4- or 8-byte value carried in the WQE.
  template <class T>
  RINGER_HD Posted put_inline(T value, const RemoteRef& remote, PostFlags flags,
                              const WaitLimit& limit) {
    return post_one(flags, limit,
                    [&](const Head& head) { return Wire::make_write_value(head, value, remote); });
  }

  /// Writes 1 to 28 bytes carried in the WQE; `data` may be reused on return. Errors: invalid.
  RINGER_HD Posted put_inline_bytes(const void* data, uint32_t bytes, const RemoteRef& remote,
                                    PostFlags flags, const WaitLimit& limit) {
    if (bytes == 0 || bytes > Wire::kMaxInlineBytes) return {make_status(StatusCode::invalid), {}};
    return post_one(flags, limit, [&](const Head& head) {
      return Wire::make_write_inline(head, data, bytes, remote);
    });
  }

  /// Adds to the 8- or 4-byte word at `remote`; the value before lands at `result`.
  template <class T>
  RINGER_HD Posted fetch_add(T add, const LocalRef& result, const RemoteRef& remote,
                             PostFlags flags, const WaitLimit& limit) {
    static_assert(sizeof(T) == 8 || sizeof(T) == 4);
    return post_one(flags, limit, [&](const Head& head) {
      if constexpr (sizeof(T) == 8) {
        return Wire::make_fetch_add(head, add, result, remote);
      } else {
        return Wire::make_fetch_add4(head, add, result, remote);
      }
    });
  }

  /// Stores `swap` at `remote` if it holds `compare`; the value before lands at `result`.
  template <class T>
  RINGER_HD Posted compare_swap(T compare, T swap, const LocalRef& result, const RemoteRef& remote,
                                PostFlags flags, const WaitLimit& limit) {
    static_assert(sizeof(T) == 8 || sizeof(T) == 4);
    return post_one(flags, limit, [&](const Head& head) {
      if constexpr (sizeof(T) == 8) {
        return Wire::make_compare_swap(head, compare, swap, result, remote);
      } else {
        return Wire::make_compare_swap4(head, compare, swap, result, remote);
      }
    });
  }

  /// Sends `bytes` into the peer's oldest receive buffer. Errors: invalid above the largest
  /// message.
  RINGER_HD Posted send(const LocalRef& local, uint64_t bytes, PostFlags flags,
                        const WaitLimit& limit) {
    if (bytes > Wire::kMaxMessageBytes) return {make_status(StatusCode::invalid), {}};
    return post_one(flags, limit, [&](const Head& head) {
      return Wire::make_send(head, local, static_cast<uint32_t>(bytes));
    });
  }

  /// Posts `count` WQEs made by `build(i, head)`, in batches of at most half a ring, with one
  /// publication a batch. `flags` apply to the last WQE; those before it are unsignaled and
  /// un-rung.
  template <class Build>
  RINGER_HD Posted post_batch(uint64_t count, PostFlags flags, const WaitLimit& limit,
                              Build&& build) {
    if (count == 0) return {make_status(StatusCode::invalid), {}};
    Posted posted;
    for (uint64_t done = 0; done < count;) {
      const uint64_t left = count - done;
      const uint32_t n =
          left < sq_.max_reservation() ? static_cast<uint32_t>(left) : sq_.max_reservation();
      const Reserved reserved = sq_.reserve(n, limit);
      if (!reserved.status.ok()) return {reserved.status, posted.ticket};
      for (uint32_t i = 0; i < n; ++i) {
        const bool last = done + i + 1 == count;
        const uint64_t index = reserved.range.base + i;
        sq_.write(index, build(done + i, head_of(index, last && flags.signaled)));
      }
      done += n;
      posted.status = sq_.publish(reserved.range, done == count && flags.ring, limit);
      posted.ticket.target = reserved.range.end();
      if (!posted.status.ok()) return posted;
    }
    return posted;
  }

  /// Increments a signal: the peer sees 1, 2, 3, ... and never a step back, whatever the number of
  /// concurrent posters, because the value is drawn while the publish ticket is held, that is, in
  /// WQE order. Ordered after every earlier put on this queue pair.
  RINGER_HD Posted signal(const SignalSlot& slot, PostFlags flags, const WaitLimit& limit) {
    const Reserved reserved = sq_.reserve(1, limit);
    if (!reserved.status.ok()) return {reserved.status, {}};
    const Status status = sq_.take_ticket(reserved.range, limit);
    if (!status.ok()) return {status, {}};
    const uint64_t value = ++*slot.sequence;
    const Head head = head_of(reserved.range.base, flags.signaled);
    sq_.write(reserved.range.base, Wire::make_write_value(head, value, slot.remote));
    sq_.release_ticket(reserved.range, flags.ring);
    return {{}, {reserved.range.end()}};
  }

  /// Waits until the WQEs up to `ticket` are complete. One of them, or a later one, must be
  /// signaled and rung; `flush` is for when that is not known.
  RINGER_HD Status wait(const Ticket& ticket, const WaitLimit& limit) {
    return sq_.wait_consumed(ticket.target, limit, "put completion");
  }

  /// Rings whatever is un-rung and waits until everything reserved so far is complete.
  RINGER_HD Status flush(const WaitLimit& limit) {
    const Status failed = sq_.completions().error_status();
    if (!failed.ok()) return failed;
    if (sq_.completions().cons_idx() == sq_.resv_head()) return {};
    // A signaled NOP behind the tail completes only after it, signaled or not.
    const Posted nop =
        post_one({true, true}, limit, [](const Head& head) { return Wire::make_nop(head); });
    return nop.status.ok() ? wait(nop.ticket, limit) : nop.status;
  }

  /// What the WQE at `index` says besides its operands, if it is wanted signaled or not.
  RINGER_HD Head head_of(uint64_t index, bool signaled) const {
    return {index, sq_.qp().qpn, Wire::signal_flags(sq_.must_signal(index, signaled))};
  }

  RINGER_HD SendQueue<P, Wire, Policy>& queue() { return sq_; }

 private:
  template <class Build>
  RINGER_HD Posted post_one(PostFlags flags, const WaitLimit& limit, Build&& build) {
    const Reserved reserved = sq_.reserve(1, limit);
    if (!reserved.status.ok()) return {reserved.status, {}};
    const uint64_t index = reserved.range.base;
    sq_.write(index, build(head_of(index, flags.signaled)));
    return {sq_.publish(reserved.range, flags.ring, limit), {reserved.range.end()}};
  }

  using MakeRdma = typename Wire::Wqe(const Head&, const LocalRef&, const RemoteRef&, uint32_t);

  RINGER_HD Posted transfer(const LocalRef& local, const RemoteRef& remote, uint64_t bytes,
                            PostFlags flags, const WaitLimit& limit, MakeRdma& make) {
    if (bytes <= Wire::kMaxMessageBytes) {
      return post_one(flags, limit, [&](const Head& head) {
        return make(head, local, remote, static_cast<uint32_t>(bytes));
      });
    }
    const uint64_t chunks = (bytes + Wire::kMaxMessageBytes - 1) / Wire::kMaxMessageBytes;
    return post_batch(chunks, flags, limit, [&](uint64_t i, const Head& head) {
      const uint64_t offset = i * Wire::kMaxMessageBytes;
      const uint64_t left = bytes - offset;
      const uint64_t n = left < Wire::kMaxMessageBytes ? left : Wire::kMaxMessageBytes;
      return make(head, LocalRef{local.address + offset, local.lkey},
                  RemoteRef{remote.address + offset, remote.rkey}, static_cast<uint32_t>(n));
    });
  }

  SendQueue<P, Wire, Policy> sq_;
};

/// Waits until the counter at `flag` has reached `value`, compared modulo 2^64 so that a wrap is no
/// step back. Everything put before the matching signal is then visible.
/// Errors: deadline, aborted (the limit's stop word was set).
template <Platform P>
RINGER_HD Status wait_signal(P p, const uint64_t* flag, uint64_t value, const WaitLimit& limit) {
  const WaitOutcome outcome = p.template wait_until<Scope::sys, Order::acquire>(
      flag, [&](uint64_t now) { return static_cast<int64_t>(now - value) >= 0; }, limit, "signal");
  if (outcome == WaitOutcome::done) return {};
  return make_status(outcome == WaitOutcome::deadline ? StatusCode::deadline : StatusCode::aborted);
}

}  // namespace ringer
