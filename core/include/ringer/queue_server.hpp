// SPDX-License-Identifier: Apache-2.0
// The server's part of SendQueue: a warp that stores doorbells for the posters.
#pragma once

#include <ringer/send_queue.hpp>

namespace ringer {

template <Platform P, class WireT, class Policy>
RINGER_HD Status SendQueue<P, WireT, Policy>::serve(const uint32_t* done, const WaitLimit& limit) {
  const WaitLimit queue_limit = limit.with_queue_error(&s_.error.code);
  for (;;) {
    // pairs with the release that says so, behind the last publication
    const bool last = p_.template load<Scope::gpu, Order::acquire>(done) != 0;
    if (const Status status = ring(limit); !status.ok()) return cq_.fail(status);
    if (last) return {};
    const uint64_t rung = s_.prod_idx;
    const auto more = [&](uint64_t published) {
      // A signal is published without a mark.
      if (published > rung || p_.template load<Scope::gpu, Order::relaxed>(done) != 0) return true;
      const uint64_t head = p_.template load<kScope, Order::relaxed>(&s_.ready_head);
      return guard(p_, "server.signals", (head & kIndexBits) > rung);
    };
    const uint64_t* next = kExclusive ? &s_.ready_head : marks_.at(rung);
    const WaitOutcome outcome = p_.template wait_until<kScope, Order::relaxed>(
        next, more, queue_limit, "something to ring");
    if (outcome == WaitOutcome::stopped) return cq_.fail(cq_.stopped_status());
    if (outcome == WaitOutcome::deadline) return cq_.fail(cq_.deadline_status(rung));
  }
}

}  // namespace ringer
