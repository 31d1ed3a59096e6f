// SPDX-License-Identifier: Apache-2.0
// What dispatch and combine have in common: epochs, flags, failure, copies and warp groups.
#pragma once

#include <cstring>

#include <ringer/ep/args.hpp>
#include <ringer/platform.hpp>
#include <ringer/simt.hpp>

namespace ringer::ep {

/// Flag and range words: two 32-bit halves, so that a count of any size cannot be taken for
/// another.
RINGER_HD constexpr uint64_t pack(uint64_t high, uint64_t low) { return (high << 32) | low; }
RINGER_HD constexpr uint32_t high_half(uint64_t v) { return static_cast<uint32_t>(v >> 32); }
RINGER_HD constexpr uint32_t low_half(uint64_t v) { return static_cast<uint32_t>(v); }

/// The entry of an expert row that stands for `row[k]`: the first one with the same expert, so that
/// a duplicate is sent once and read twice.
RINGER_HD inline uint32_t first_of(const int32_t* row, uint32_t k) {
  uint32_t first = 0;
  while (row[first] != row[k]) ++first;
  return first;
}

/// Warps of a block that work on one (expert, rank) pair together.
struct WarpGroup {
  uint32_t index;     ///< in the grid
  uint32_t groups;    ///< in the grid
  uint32_t warp;      ///< in the group
  uint32_t warps;     ///< in the group
  uint32_t in_block;  ///< index of the group in its block: its named barrier and its shared word
};

inline constexpr uint32_t kMaxWarpsPerBlock = 32;
/// Shared memory that the kernels are launched with: a word per warp group.
inline constexpr uint32_t kSharedBytes = kMaxWarpsPerBlock * 8;

inline constexpr uint32_t kMaxGroupWarps = 4;

template <Warp W>
RINGER_HD WarpGroup make_group(const W& w) {
  uint32_t warps = w.warps_per_block() < kMaxGroupWarps ? w.warps_per_block() : kMaxGroupWarps;
  while (w.warps_per_block() % warps != 0) --warps;
  const uint32_t per_block = w.warps_per_block() / warps;
  const uint32_t in_block = w.warp_in_block() / warps;
  return {w.block() * per_block + in_block, w.blocks() * per_block, w.warp_in_block() % warps,
          warps, in_block};
}

/// Barrier among the warps of a group, and a fence. Groups of one warp need no named barrier, of
/// which there are only 15.
template <Warp W>
RINGER_HD void sync_group(const W& w, const WarpGroup& group) {
  if (group.warps == 1) {
    w.sync();
  } else {
    w.group_sync(group.in_block, group.warps);
  }
}

/// Copies 16-byte multiples, a warp at a time.
template <Warp W>
RINGER_HD void copy_warp(const W& w, uint8_t* to, const uint8_t* from, uint64_t bytes) {
  w.strided(bytes / 16, [&](uint64_t i) { std::memcpy(to + i * 16, from + i * 16, 16); });
  if (bytes % 16 != 0) {
    w.leader([&] { std::memcpy(to + bytes / 16 * 16, from + bytes / 16 * 16, bytes % 16); });
  }
}

template <Platform P, Warp W>
class KernelContext {
 public:
  using Policy = QueuePolicy<Sharing::gpu, Placement::host, AnyDoorbell>;

  RINGER_HD KernelContext(P p, W w, const CommonArgs& args, Stage stage)
      : p_(p),
        w_(w),
        args_(args),
        stage_(stage),
        channel_(p, args.channel, Policy{args.doorbell, {}}),
        limit_(limit_after(p, args.timeout_ns, &args.state->failure.code)) {}

  /// False, and the rank has failed, if this kernel was compiled for other structures than the host
  /// that launched it, or is given more tokens than the window has room for.
  RINGER_HD bool accepts(uint32_t tokens) {
    const bool compatible =
        args_.layout_stamp == kArgsStamp && args_.channel.layout_stamp == kChannelStamp;
    if (compatible && tokens <= args_.layout.max_tokens) return true;
    fail(make_status(StatusCode::invalid), kNoPeer);
    return false;
  }

  /// Number of the call that a phase belongs to: one past the completed ones.
  RINGER_HD uint64_t epoch(const uint64_t* completed) const {
    return p_.template load<Scope::gpu, Order::acquire>(completed) + 1;  // pairs with finish()
  }

  /// Ends a call: all warps are through with the epoch before it counts as completed, and no warp
  /// leaves before that, so that the next call may follow in the same launch.
  RINGER_HD void finish(uint64_t* completed, uint64_t epoch) {
    w_.grid_sync();
    if (warp_in_grid(w_) == 0) {
      w_.leader([&] {
        p_.template store<Scope::gpu, Order::release>(completed, epoch);  // pairs with epoch()
      });
    }
    w_.grid_sync();
  }

  /// Tells `peer` that `count` items of this epoch are behind it: the signaled, rung tail of a
  /// queue pair's work. `sent` is the value this flag carried before (atomic_add only). One lane.
  RINGER_HD void send_flag(uint32_t queue, uint32_t peer, uint64_t offset, uint64_t epoch,
                           uint32_t count, uint64_t* sent) {
    const uint64_t value = pack(epoch, count);
    Status status;
    if (args_.flags == FlagPolicy::strict_write) {
      status = channel_.put_flag(queue, peer, offset, value, {true, true}, limit_);
    } else {
      status = channel_.add_flag(queue, peer, offset, value - *sent, {true, true}, limit_);
      *sent = value;
    }
    if (!status.ok()) fail(status, peer);
  }

  /// Waits for a flag of this epoch and returns its count; 0 after a failure, which is recorded
  /// with the peer's name. One lane.
  RINGER_HD uint32_t wait_flag(uint64_t offset, uint64_t epoch, uint32_t peer, const char* site) {
    const auto* flag = reinterpret_cast<const uint64_t*>(args_.channel.window + offset);
    const uint32_t tag = low_half(epoch);
    uint64_t value = 0;
    const WaitOutcome outcome = p_.template wait_until<Scope::sys, Order::acquire>(
        flag,
        [&](uint64_t now) {  // pairs with put_flag / add_flag, ours or the NIC's
          value = now;
          return high_half(now) == tag;
        },
        limit_, site);
    if (outcome == WaitOutcome::done) return low_half(value);
    if (outcome == WaitOutcome::deadline) fail(explain(peer), peer);
    return 0;
  }

  /// Looks at every queue pair once: credit comes back and errors come out, even if all flags are
  /// in.
  RINGER_HD void take_completions() {
    const uint32_t pairs = args_.channel.queues * args_.channel.ranks;
    for (uint32_t i = warp_in_grid(w_); i < pairs; i += warps_in_grid(w_)) {
      const uint32_t peer = i % args_.channel.ranks;
      w_.leader([&] {
        const Status status = channel_.check(i / args_.channel.ranks, peer);
        if (!status.ok()) fail(status, peer);
      });
    }
  }

  /// Records a failure if it is the rank's first.
  RINGER_HD void fail(Status status, uint32_t peer) {
    FailureRecord& record = args_.state->failure;
    if (p_.template exchange<Scope::sys, Order::acq_rel>(&record.claimed, 1u) != 0) return;
    record.syndrome = status.syndrome;
    record.qpn = status.qpn;
    record.peer = status.peer == kNoPeer ? peer : status.peer;
    record.stage = stage_;
    record.wqe_index = status.wqe_index;
    p_.template store<Scope::sys, Order::release>(
        &record.code, static_cast<uint32_t>(status.code));  // pairs with the waits' stop word
  }

  RINGER_HD const P& platform() const { return p_; }
  RINGER_HD Channel<P, Policy>& channel() { return channel_; }
  RINGER_HD const WaitLimit& limit() const { return limit_; }

 private:
  // A peer that stays silent may have an error on one of our queue pairs to it: that is the cause.
  RINGER_HD Status explain(uint32_t peer) {
    for (uint32_t queue = 0; queue < args_.channel.queues; ++queue) {
      const Status status = channel_.check(queue, peer);
      if (!status.ok()) return status;
    }
    return make_status(StatusCode::deadline);
  }

  P p_;
  W w_;
  const CommonArgs& args_;
  Stage stage_;
  Channel<P, Policy> channel_;
  WaitLimit limit_;
};

}  // namespace ringer::ep
