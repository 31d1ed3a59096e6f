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
enum class Placement { host, gpu };

/// One publication, as doorbell and signal policies see it.
struct PublishContext {
  uint64_t base;       ///< first index of the range
  uint64_t end;        ///< one past its last index
  uint64_t resv_head;  ///< reservations so far, ours included
};

/// Rings only where the caller asked for it.
struct TailDoorbell {
  RINGER_HD constexpr bool operator()(const PublishContext&) const { return false; }
};

/// Rings whenever the index passes a multiple of `wqes`.
struct EveryDoorbell {
  uint32_t wqes;
  RINGER_HD constexpr bool operator()(const PublishContext& c) const {
    return c.base / wqes != c.end / wqes;
  }
};

/// Rings when nobody has reserved behind us, or when a batch of `wqes` is full. Live because each
/// later reservation is followed by its own publication, whose poster then decides again.
struct AdaptiveDoorbell {
  uint32_t wqes = 32;
  RINGER_HD constexpr bool operator()(const PublishContext& c) const {
    return c.resv_head == c.end || c.base / wqes != c.end / wqes;
  }
};

/// One of the three, chosen at run time (sweeps). `every` = 0 means tail; adaptive uses it as
/// batch.
struct AnyDoorbell {
  bool adaptive = false;
  uint32_t every = 0;
  RINGER_HD constexpr bool operator()(const PublishContext& c) const {
    if (adaptive) return AdaptiveDoorbell{every == 0 ? 32 : every}(c);
    return every != 0 && EveryDoorbell{every}(c);
  }
};

/// Signals only where the caller asked for it (and once per half ring, always).
struct TailSignal {
  RINGER_HD constexpr bool operator()(uint64_t) const { return false; }
};

/// Signals each WQE whose index ends a group of `wqes`.
struct EverySignal {
  uint32_t wqes;
  RINGER_HD constexpr bool operator()(uint64_t index) const { return (index + 1) % wqes == 0; }
};

template <Sharing kSharingValue = Sharing::gpu, Placement kPlacementValue = Placement::host,
          class DoorbellT = TailDoorbell, class SignalT = TailSignal>
struct QueuePolicy {
  static constexpr Sharing kSharing = kSharingValue;
  static constexpr Placement kPlacement = kPlacementValue;
  /// Scope among the posters of one queue.
  static constexpr Scope kPosterScope = kSharing == Sharing::gpu ? Scope::gpu : Scope::cta;
  /// Scope that makes a WQE or DBR store visible to the NIC.
  static constexpr Scope kNicScope = kPlacement == Placement::host ? Scope::sys : Scope::gpu;

  DoorbellT doorbell{};
  SignalT signal{};
};

}  // namespace ringer
