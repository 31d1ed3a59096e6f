// SPDX-License-Identifier: Apache-2.0
#include <ringer/p2p/post.hpp>

namespace ringer::p2p {

const char* shape_trouble(const PostShape& shape, const PolicyChoice& policy) {
  const Sharing sharing = policy.sharing;
  const uint64_t warps = uint64_t{shape.blocks} * shape.warps_per_block;
  if (warps == 0 || shape.queue_pairs == 0) return "there is nobody to post, or nothing to post to";
  if (sharing == Sharing::exclusive && shape.queue_pairs != warps) {
    return "exclusive queue pairs: as many as warps";
  }
  if (sharing == Sharing::cta && shape.queue_pairs != shape.blocks) {
    return "queue pairs shared within a block: as many as blocks";
  }
  if (policy.rung_by == RungBy::server) {
    if (policy.record == RecordOrder::trailing)
      return "a server's records are before its doorbells";
    if (sharing == Sharing::exclusive && shape.warps_per_block != 1) {
      return "a server rings for one exclusive queue pair: blocks of one warp";
    }
    if (shape.queue_pairs > shape.blocks) return "a server a queue pair needs as many blocks";
  }
  if (shape.queue_pairs > warps) return "more queue pairs than warps";
  return nullptr;
}

}  // namespace ringer::p2p
