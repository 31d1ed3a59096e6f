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

inline constexpr uint32_t kMaxWarpsPerBlock = 32;
inline constexpr uint32_t kMaxGroupWarps = 8;

/// Warps of a block that make one message together.
struct WarpGroup {
  uint32_t index;     ///< in the grid; neighbours lie in different blocks
  uint32_t groups;    ///< in the grid
  uint32_t in_block;  ///< index of the group in its block: its barrier and its shared memory
  WarpShare share;    ///< of this warp in the group
};

/// Warps of a group in a block of `warps_per_block`, all of whose groups are of one size.
RINGER_HD constexpr uint32_t group_warps(uint32_t warps_per_block) {
  uint32_t warps = warps_per_block < kMaxGroupWarps ? warps_per_block : kMaxGroupWarps;
  while (warps_per_block % warps != 0) --warps;
  return warps;
}

template <Warp W>
RINGER_HD WarpGroup make_group(const W& w) {
  const uint32_t warps = group_warps(w.warps_per_block());
  const uint32_t in_block = w.warp_in_block() / warps;
  return {in_block * w.blocks() + w.block(),
          w.blocks() * (w.warps_per_block() / warps),
          in_block,
          {w.warp_in_block() % warps, warps}};
}

/// Barrier among the warps of a group, and a fence. Groups of one warp need no named barrier, of
/// which there are only 15.
template <Warp W>
RINGER_HD void sync_group(const W& w, const WarpGroup& group) {
  if (group.share.warps == 1) {
    w.sync();
  } else {
    w.group_sync(group.in_block, group.share.warps);
  }
}

/// Shared memory of a block. While it sends, a message for each group. Afterwards, once the whole
/// block is through with that, an entry list for each warp and a row table for each group.
struct SharedLayout {
  uint32_t warps;
  uint32_t groups;
  uint32_t message_bytes;
  uint32_t table_words;

  RINGER_HD SharedLayout(const Layout& layout, uint32_t warps_per_block)
      : warps(warps_per_block),
        groups(warps_per_block / group_warps(warps_per_block)),
        message_bytes(layout.message_bytes),
        table_words((layout.experts_per_rank + 2) / 2 * 2) {}

  RINGER_HD uint32_t message(uint32_t group) const { return group * message_bytes; }
  /// kMaxTopk words of 8 bytes, and twice as many of 4 bytes.
  RINGER_HD uint32_t entries(uint32_t warp) const { return warp * kMaxTopk * 16; }
  RINGER_HD uint32_t entry_keys(uint32_t warp) const { return entries(warp) + kMaxTopk * 8; }
  /// A word of 8 bytes for each local expert, and one more.
  RINGER_HD uint32_t table(uint32_t group) const {
    return entries(warps) + group * table_words * 8;
  }
  RINGER_HD uint32_t bytes() const {
    return message(groups) > table(groups) ? message(groups) : table(groups);
  }
};

RINGER_HD inline uint32_t shared_bytes(const Layout& layout, uint32_t warps_per_block) {
  return SharedLayout(layout, warps_per_block).bytes();
}

template <class T, Warp W>
RINGER_HD T* shared_at(const W& w, const SharedLayout& shared, uint32_t offset) {
  return reinterpret_cast<T*>(static_cast<uint8_t*>(w.shared(shared.bytes())) + offset);
}

/// What a mapped peer's block says when it has sent its share, in the low half of its flag: how
/// many blocks that rank has, so that all of them can be waited for, and how many tokens.
struct DoneFlag {
  uint32_t blocks;
  uint32_t tokens;

  static constexpr uint32_t kBlockBits = 11;
  static_assert(kMaxBlocks < (1u << kBlockBits));
  RINGER_HD constexpr uint32_t word() const { return (tokens << kBlockBits) | blocks; }
  RINGER_HD static constexpr DoneFlag of(uint32_t word) {
    return {word & ((1u << kBlockBits) - 1), word >> kBlockBits};
  }
};

/// What all lanes of a warp move at once: parts of a payload need not be smaller.
inline constexpr uint32_t kSpreadBytes = 512;

/// `items` pieces of work over all warps of a grid, each piece in as many parts as it takes to keep
/// them busy. Unit u is part u / items of item u % items.
struct Units {
  uint32_t items;
  uint32_t parts;
  RINGER_HD constexpr uint64_t count() const { return uint64_t{items} * parts; }
};

template <Warp W>
RINGER_HD Units split_units(const W& w, uint32_t items, uint32_t most_parts) {
  const uint32_t wanted = items == 0 ? 1 : warps_in_grid(w) / items;
  const uint32_t parts = wanted < most_parts ? wanted : most_parts;
  return {items, parts == 0 ? 1 : parts};
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
        channel_(p, args.channel, Policy{args.doorbell, {}}) {}

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

  /// Ends a call: it counts as completed once all blocks are through with it. Another call in the
  /// same launch needs a grid_sync before it.
  RINGER_HD void finish(uint64_t* completed, uint64_t epoch) {
    w_.block_sync();
    if (w_.warp_in_block() != 0) return;
    w_.leader([&] {
      uint32_t* through = &args_.state->blocks_through;
      // Acquire and release: the last block's store covers what all blocks have done.
      const uint32_t before = p_.template fetch_add<Scope::gpu, Order::acq_rel>(through, 1u);
      if (before + 1 != w_.blocks()) return;
      p_.template store<Scope::gpu, Order::relaxed>(through, 0u);
      p_.template store<Scope::gpu, Order::release>(completed, epoch);  // pairs with epoch()
    });
  }

  /// Tells `peer` that `count` items of this epoch are behind it: the signaled, rung tail of a
  /// queue pair's work. `sent` is the value this flag carried before (atomic_add only). One lane.
  RINGER_HD void send_flag(uint32_t queue, uint32_t peer, uint64_t offset, uint64_t epoch,
                           uint32_t count, uint64_t* sent) {
    const uint64_t value = pack(epoch, count);
    Status status;
    if (args_.flags == FlagPolicy::strict_write) {
      status = channel_.put_flag(queue, peer, offset, value, {true, true}, limit());
    } else {
      status = channel_.add_flag(queue, peer, offset, value - *sent, {true, true}, limit());
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
        limit(), site);
    if (outcome == WaitOutcome::done) return low_half(value);
    if (outcome == WaitOutcome::deadline) fail(explain(peer), peer);
    return 0;
  }

  /// After this block's last store to any mapped peer: tells each of them, the own rank included.
  /// `at(block)` is where, in the peer's window. All warps of the block.
  template <class At>
  RINGER_HD void tell_mapped_peers(uint64_t epoch, uint32_t tokens, At&& at) {
    w_.block_sync();
    if (w_.warp_in_block() != 0) return;
    const DoneFlag done{w_.blocks(), tokens};
    w_.strided(args_.channel.ranks, [&](uint64_t peer) {
      uint8_t* flag = channel_.mapped(static_cast<uint32_t>(peer), at(w_.block()));
      if (flag == nullptr) return;
      // Releases the stores of the whole block; pairs with wait_mapped(): acquire.
      p_.template store<Scope::sys, Order::release>(reinterpret_cast<uint64_t*>(flag),
                                                    pack(epoch, done.word()));
    });
  }

  /// Waits until all blocks of a mapped peer have told us. `at(block)` is where. One warp.
  template <class At>
  RINGER_HD DoneFlag wait_mapped(uint64_t epoch, uint32_t peer, const char* site, At&& at) {
    const DoneFlag done =
        DoneFlag::of(w_.broadcast([&] { return wait_flag(at(0), epoch, peer, site); }));
    w_.strided(done.blocks, [&](uint64_t block) { wait_flag(at(block), epoch, peer, site); });
    w_.sync();
    return done;
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

  RINGER_HD uint32_t experts() const { return args_.layout.ranks * args_.layout.experts_per_rank; }
  /// True if some peer is reached through a queue pair or a command ring.
  RINGER_HD bool any_unmapped() const { return args_.channel.unmapped != 0; }

  RINGER_HD const P& platform() const { return p_; }
  RINGER_HD Channel<P, Policy>& channel() { return channel_; }
  /// For a wait that begins now.
  RINGER_HD WaitLimit limit() const {
    return limit_after(p_, args_.timeout_ns, &args_.state->failure.code);
  }

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
};

}  // namespace ringer::ep
