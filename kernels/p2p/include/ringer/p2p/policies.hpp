// SPDX-License-Identifier: Apache-2.0
// Policies chosen at run time, for benchmarks.
#pragma once

#include <ringer/queue_policy.hpp>

namespace ringer::p2p {

struct PolicyChoice {
  Sharing sharing = Sharing::gpu;
  Placement placement = Placement::host;
  RecordOrder record = RecordOrder::before_doorbell;
  RungBy rung_by = RungBy::poster;
};

/// f(QueuePolicy<...>{}) for an exclusive queue pair whose rings lie in host memory.
template <class F>
auto with_record(RecordOrder record, F&& f) {
  constexpr auto kBefore = RecordOrder::before_doorbell;
  constexpr auto kTrailing = RecordOrder::trailing;
  return record == kBefore ? f(QueuePolicy<Sharing::exclusive, Placement::host, TailDoorbell,
                                           TailSignal, kBefore>{})
                           : f(QueuePolicy<Sharing::exclusive, Placement::host, TailDoorbell,
                                           TailSignal, kTrailing>{});
}

/// f(QueuePolicy<...>{}) for the choice; a server has no trailing record.
template <class F>
auto with_policy(const PolicyChoice& choice, F&& f) {
  const auto rung = [&]<Sharing kSharing, Placement kPlacement>() {
    constexpr auto kBefore = RecordOrder::before_doorbell;
    constexpr auto kTrailing = RecordOrder::trailing;
    using Tail = TailDoorbell;
    if (choice.rung_by == RungBy::server) {
      return f(QueuePolicy<kSharing, kPlacement, Tail, TailSignal, kBefore, RungBy::server>{});
    }
    return choice.record == kBefore
               ? f(QueuePolicy<kSharing, kPlacement, Tail, TailSignal, kBefore>{})
               : f(QueuePolicy<kSharing, kPlacement, Tail, TailSignal, kTrailing>{});
  };
  const auto placement = [&]<Sharing kSharing>() {
    return choice.placement == Placement::host
               ? rung.template operator()<kSharing, Placement::host>()
               : rung.template operator()<kSharing, Placement::gpu>();
  };
  if (choice.sharing == Sharing::exclusive) {
    return placement.template operator()<Sharing::exclusive>();
  }
  return choice.sharing == Sharing::cta ? placement.template operator()<Sharing::cta>()
                                        : placement.template operator()<Sharing::gpu>();
}

}  // namespace ringer::p2p
