// SPDX-License-Identifier: Apache-2.0
// Completions of a NIC's rings, taken when it tells of them.
#pragma once

#include <mutex>
#include <optional>
#include <vector>

#include <ringer/verbs/device.hpp>
#include <ringer/verbs/posted_ring.hpp>

#include "event_thread.hpp"

namespace ringer::verbs {

class CompletionWatch {
 public:
  /// Errors: BackendError.
  explicit CompletionWatch(const Device& device);
  CompletionWatch(const CompletionWatch&) = delete;
  CompletionWatch& operator=(const CompletionWatch&) = delete;

  /// Completion queues of watched rings are created with it.
  ibv_comp_channel* channel() const { return channel_.get(); }
  /// `cq` is that of `ring`, and has no completions yet. Errors: BackendError.
  void add(ibv_cq* cq, PostedRing& ring);
  /// It is not touched any more when this returns.
  void forget(PostedRing& ring);

 private:
  struct Watched {
    ibv_cq* cq;
    PostedRing* ring;
  };
  void take_event();

  const Device& device_;
  Owned<ibv_comp_channel> channel_;
  std::mutex mutex_;
  std::vector<Watched> watched_;
  std::optional<EventThread> thread_;  // last: it uses what is above
};

}  // namespace ringer::verbs
