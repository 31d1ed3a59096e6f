// SPDX-License-Identifier: Apache-2.0
#include "completion_watch.hpp"

#include <algorithm>
#include <cerrno>

namespace ringer::verbs {

CompletionWatch::CompletionWatch(const Device& device)
    : device_(device),
      channel_(device.verbs.create_comp_channel(device.context),
               device.verbs.destroy_comp_channel) {
  if (channel_.get() == nullptr) fail("ibv_create_comp_channel", device.name(), errno);
  thread_.emplace(channel_->fd, [this] { take_event(); });
}

void CompletionWatch::add(ibv_cq* cq, PostedRing& ring) {
  const std::lock_guard lock(mutex_);
  if (const int error = ibv_req_notify_cq(cq, 0); error != 0) {
    fail("ibv_req_notify_cq", device_.name(), error);
  }
  watched_.push_back({cq, &ring});
}

void CompletionWatch::forget(PostedRing& ring) {
  const std::lock_guard lock(mutex_);
  std::erase_if(watched_, [&](const Watched& w) { return w.ring == &ring; });
}

// A queue that is being destroyed waits for its acknowledgement. What completes after the request
// for the next event raises that; what completed before is taken here.
void CompletionWatch::take_event() {
  ibv_cq* cq = nullptr;
  void* context = nullptr;
  if (device_.verbs.get_cq_event(channel_.get(), &cq, &context) != 0) return;
  {
    const std::lock_guard lock(mutex_);
    const auto watched = std::find_if(watched_.begin(), watched_.end(),
                                      [&](const Watched& w) { return w.cq == cq; });
    if (watched != watched_.end()) {
      const bool armed = ibv_req_notify_cq(cq, 0) == 0;
      watched->ring->take_completions();
      if (!armed) watched->ring->take_by_polling();
    }
  }
  device_.verbs.ack_cq_events(cq, 1);
}

}  // namespace ringer::verbs
