// SPDX-License-Identifier: Apache-2.0
// Posting by a whole warp: its lanes build and store WQEs side by side, one lane reserves and
// publishes for all of them.
#pragma once

#include <ringer/endpoint.hpp>
#include <ringer/simt.hpp>

namespace ringer {

/// Endpoint::post_batch by all lanes of `warp`: `build(i, head)` runs on the lane that stores WQE
/// i. Each lane has an endpoint of its own on the same queue pair; the first lane's reserves and
/// rings. The outcome is the same on all lanes, but a failure's details are the first lane's.
template <Warp W, Platform P, class Policy, class Wire, class Build>
RINGER_HD Posted post_batch(const W& warp, Endpoint<P, Policy, Wire>& endpoint, uint64_t count,
                            PostFlags flags, const WaitLimit& limit, Build&& build) {
  if (count == 0) return {make_status(StatusCode::invalid), {}};
  constexpr uint64_t kFailed = ~uint64_t{0};
  auto& queue = endpoint.queue();
  Posted posted;
  for (uint64_t done = 0; done < count;) {
    const uint64_t left = count - done;
    const uint32_t n =
        left < queue.max_reservation() ? static_cast<uint32_t>(left) : queue.max_reservation();
    // A failed publication shows at the next broadcast.
    const uint64_t base = warp.broadcast([&] {
      if (!posted.status.ok()) return kFailed;
      const Reserved reserved = queue.reserve(n, limit);
      posted.status = reserved.status;
      return reserved.status.ok() ? reserved.range.base : kFailed;
    });
    if (base == kFailed) break;
    warp.strided(n, [&](uint64_t i) {
      const bool last = done + i + 1 == count;
      queue.write(base + i, build(done + i, endpoint.head_of(base + i, last && flags.signaled)));
    });
    warp.sync();  // the lanes' stores are before the first lane's release
    done += n;
    warp.leader([&] {
      posted.status = queue.publish({base, n}, done == count && flags.ring, limit);
    });
    posted.ticket.target = base + n;
  }
  posted.status.code = static_cast<StatusCode>(
      warp.broadcast([&] { return static_cast<uint32_t>(posted.status.code); }));
  return posted;
}

}  // namespace ringer
