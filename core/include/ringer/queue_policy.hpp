// SPDX-License-Identifier: Apache-2.0
// The choices a queue pair's user makes at compile time: who shares it, where it lives, when the
// doorbell rings and which WQEs ask for a CQE.
#pragma once

#include <cstdint>

#include <ringer/config.hpp>
#include <ringer/memory_order.hpp>

namespace ringer {

/// Who posts to one queue pair. `exclusive` needs no atomics at all.
enum class Sharing { exclusive, cta, gpu };

/// Where SQ, CQ and DBR lie. It decides how far a release must reach for the NIC to see the WQE:
/// GPU memory is read by the NIC through the GPU, host memory only after a system-scope release.
/// With rings in GPU memory the payload must lie there, too, or have been released to the system
/// before.
enum class Placement { host, gpu };

/// When the doorbell record is written. A NIC that has lost a doorbell takes the queue's extent
/// from the record.
enum class RecordOrder {
  /// Visible before the doorbell: each ring costs two releases that reach the NIC, one after the
  /// other.
  before_doorbell,
  /// Written with the doorbell, one release for both. The NIC must take the extent from the
  /// doorbell
  /// (QueuePairConfig::record_may_trail); one that loses a doorbell may find the record old, so
  /// waits ring again.
  trailing,
};

/// Who stores doorbells. A release that reaches the NIC takes a GPU longer than a hundred posts.
enum class RungBy {
  poster,  ///< whoever posts and wants it rung: the doorbell is stored when the post returns
  /// A warp beside the posters, in SendQueue::serve(): a post returns once it is published, and is
  /// rung soon after, with all that has been posted meanwhile. Wishes for a doorbell count for
  /// nothing. An exclusive queue's server runs in the poster's block.
  server,
};

// Doorbell policies are asked about each publication of [base, end). `resv_head` returns the
// reservations so far, ours included, and costs a look at memory.

/// Rings only where the caller asked for it.
struct TailDoorbell {
  template <class ResvHead>
  RINGER_HD constexpr bool operator()(uint64_t, uint64_t, ResvHead&&) const {
    return false;
  }
};

/// Rings whenever the index passes a multiple of `wqes`; once in 2^32 indices the last group is
/// shorter, unless `wqes` is a power of two.
struct EveryDoorbell {
  uint32_t wqes;
  template <class ResvHead>
  RINGER_HD constexpr bool operator()(uint64_t base, uint64_t end, ResvHead&&) const {
    // In 32 bits: a 64-bit division costs a GPU more than the post.
    return static_cast<uint32_t>(end) / wqes != static_cast<uint32_t>(base) / wqes;
  }
};

/// Rings when nobody has reserved behind us, or when a batch of `wqes` is full. Live because each
/// later reservation is followed by its own publication, whose poster then decides again.
struct AdaptiveDoorbell {
  uint32_t wqes = 32;
  template <class ResvHead>
  RINGER_HD constexpr bool operator()(uint64_t base, uint64_t end, ResvHead&& resv_head) const {
    return EveryDoorbell{wqes}(base, end, resv_head) || resv_head() == end;
  }
};

/// One of the three, chosen at run time (sweeps). `every` = 0 means tail; adaptive uses it as
/// batch.
struct AnyDoorbell {
  bool adaptive = false;
  uint32_t every = 0;
  template <class ResvHead>
  RINGER_HD constexpr bool operator()(uint64_t base, uint64_t end, ResvHead&& resv_head) const {
    if (adaptive) return AdaptiveDoorbell{every == 0 ? 32 : every}(base, end, resv_head);
    return every != 0 && EveryDoorbell{every}(base, end, resv_head);
  }
};

/// Signals only where the caller asked for it (and once per half ring, always).
struct TailSignal {
  RINGER_HD constexpr bool operator()(uint64_t) const { return false; }
};

/// Signals each WQE whose index ends a group of `wqes`, counted in 32 bits like EveryDoorbell.
struct EverySignal {
  uint32_t wqes;
  RINGER_HD constexpr bool operator()(uint64_t index) const {
    return static_cast<uint32_t>(index + 1) % wqes == 0;
  }
};

template <Sharing kSharingValue = Sharing::gpu, Placement kPlacementValue = Placement::host,
          class DoorbellT = TailDoorbell, class SignalT = TailSignal,
          RecordOrder kRecordValue = RecordOrder::before_doorbell,
          RungBy kRungByValue = RungBy::poster>
struct QueuePolicy {
  static constexpr Sharing kSharing = kSharingValue;
  static constexpr Placement kPlacement = kPlacementValue;
  static constexpr RecordOrder kRecord = kRecordValue;
  static constexpr RungBy kRungBy = kRungByValue;
  /// Scope among the posters of one queue.
  static constexpr Scope kPosterScope = kSharing == Sharing::gpu ? Scope::gpu : Scope::cta;
  /// Scope that makes a WQE or DBR store visible to the NIC.
  static constexpr Scope kNicScope = kPlacement == Placement::host ? Scope::sys : Scope::gpu;

  DoorbellT doorbell{};
  SignalT signal{};
};

}  // namespace ringer
