// SPDX-License-Identifier: Apache-2.0
// Warps that do nothing but post: what reserve, write, publish and ring cost.
#pragma once

#include <ringer/p2p/policies.hpp>
#include <ringer/warp_post.hpp>

namespace ringer::p2p {

/// How a warp came through.
struct PosterRecord {
  uint64_t begin_ns;   ///< before the first post
  uint64_t posted_ns;  ///< after the last
  uint64_t done_ns;    ///< when all of them were complete, if that was waited for
  Status status;
};

/// How a server came through.
struct ServerRecord {
  uint64_t rung_ns;  ///< when it had rung all
  Status status;
};

/// One launch. Warp w of the grid posts RDMA WRITEs of `bytes`, number i from
/// source + w * poster_stride to target + w * poster_stride + i * wqe_stride, on queue pair
/// w % queue_pairs (CTA sharing: of its block): see shape_trouble().
struct PostArgs {
  const DeviceQp* qps;
  uint32_t queue_pairs;
  uint32_t wqes;            ///< per warp
  uint32_t batch;           ///< WQEs a post; above 1 the whole warp writes them
  uint32_t doorbell_every;  ///< rings at each such post; 0: at the last
  uint32_t drain;           ///< 1: wait until all are complete (needs a NIC)
  uint32_t bytes;
  LocalRef source;
  RemoteRef target;
  uint64_t poster_stride;
  uint64_t wqe_stride;
  uint64_t timeout_ns;
  PosterRecord* records;  ///< [posting warps]
  uint32_t* finished;     ///< two words, zero at first: warps that are through, 1 if all are
  ServerRecord* servers;  ///< [blocks]
};

struct PostShape {
  uint32_t blocks;
  uint32_t warps_per_block;  ///< that post; a server comes on top
  uint32_t queue_pairs;
};

/// Why a shape cannot be posted so, or null: exclusive needs a queue pair a warp, CTA sharing one a
/// block, a server a block for each queue pair and a record before its doorbell.
const char* shape_trouble(const PostShape& shape, const PolicyChoice& policy);

template <class Policy>
inline constexpr uint32_t kServers = Policy::kRungBy == RungBy::server ? 1 : 0;

// The last warp of block b rings for queue pair b until all have posted.
template <class Policy, Platform P, Warp W>
RINGER_HD void serve(P p, const W& w, const PostArgs& args) {
  if (w.block() >= args.queue_pairs) return;
  w.leader([&] {
    const DeviceQp qp = args.qps[w.block()];
    Endpoint<P, Policy> endpoint(p, qp);
    const Status status =
        endpoint.queue().serve(args.finished + 1, limit_after(p, args.timeout_ns));
    args.servers[w.block()] = {p.now_ns(), status};
  });
}

template <class Policy, Platform P, Warp W>
RINGER_HD void post(P p, const W& w, const PostArgs& args) {
  const uint32_t posters = w.warps_per_block() - kServers<Policy>;  // of this block
  if (w.warp_in_block() == posters) return serve<Policy>(p, w, args);
  const uint32_t poster = w.block() * posters + w.warp_in_block();
  // A copy stays in registers, where fences cannot make it stale.
  const DeviceQp qp =
      args.qps[Policy::kSharing == Sharing::cta ? w.block() : poster % args.queue_pairs];
  Endpoint<P, Policy> endpoint(p, qp);
  const WaitLimit limit = limit_after(p, args.timeout_ns);
  const LocalRef source{args.source.address + poster * args.poster_stride, args.source.lkey};
  const RemoteRef target{args.target.address + poster * args.poster_stride, args.target.rkey};
  const uint32_t posts = args.wqes / args.batch;
  const uint32_t every = args.doorbell_every == 0 ? posts : args.doorbell_every;

  PosterRecord record{p.now_ns(), 0, 0, {}};
  const auto post_all = [&](auto&& post_one) {
    uint32_t until_ring = every;
    for (uint32_t left = posts; left > 0; --left) {
      const bool last = left == 1;
      const bool ring = --until_ring == 0 || last;
      if (ring) until_ring = every;
      const Posted posted = post_one(PostFlags{last, ring});
      if (!posted.status.ok()) {
        record.status = posted.status;
        return;
      }
    }
  };
  if (args.batch == 1) {
    w.leader([&] {
      RemoteRef next = target;
      post_all([&](PostFlags flags) {
        const Posted posted = endpoint.put(source, next, args.bytes, flags, limit);
        next.address += args.wqe_stride;
        return posted;
      });
    });
  } else {
    uint64_t first = target.address;
    post_all([&](PostFlags flags) {
      const auto build = [&](uint64_t i, const mlx5::Wire::Head& head) {
        return mlx5::Wire::make_write(head, source, {first + i * args.wqe_stride, target.rkey},
                                      args.bytes);
      };
      const Posted posted = post_batch(w, endpoint, args.batch, flags, limit, build);
      first += args.batch * args.wqe_stride;
      return posted;
    });
  }
  w.leader([&] {
    record.posted_ns = p.now_ns();
    if (args.drain != 0 && record.status.ok()) record.status = endpoint.flush(limit);
    record.done_ns = p.now_ns();
    args.records[poster] = record;
    if constexpr (kServers<Policy> != 0) {
      const uint32_t before = p.template fetch_add<Scope::gpu, Order::acq_rel>(args.finished, 1u);
      if (before + 1 == posters * w.blocks()) {
        p.template store<Scope::gpu, Order::release>(args.finished + 1, 1u);  // pairs with serve()
      }
    }
  });
}

}  // namespace ringer::p2p
