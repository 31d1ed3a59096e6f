// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include <ringer/fifo_proxy.hpp>
#include <ringer/host_platform.hpp>
#include <ringer/poll_loop.hpp>

namespace ringer {

namespace {
// Commands taken in one step, and the most that may wait for send-queue credit before taking stops.
constexpr uint32_t kTakeMax = 256;
constexpr size_t kPendingMax = 4096;
constexpr HostPlatform kHost;
}  // namespace

FifoRing::FifoRing(uint32_t depth, KernelMemory& memory) {
  if (depth == 0 || (depth & (depth - 1)) != 0) {
    throw BackendError("fifo: depth " + std::to_string(depth) + " is not a power of two");
  }
  commands_ = KernelArray<FifoCommand>(memory, depth, MemoryUse::queue);
  state_ = KernelArray<FifoState>(memory, 1, MemoryUse::queue);
}

bool FifoProxy::step() {
  const bool taken = take_commands();
  const bool posted = post_pending();
  const bool completed = take_completions();
  if (completed) publish_done();
  return taken || posted || completed;
}

bool FifoProxy::take_commands() {
  const DeviceFifo fifo = ring_.device_view();
  uint32_t n = 0;
  for (; n < kTakeMax && pending_ < kPendingMax; ++n) {
    const FifoCommand& slot = fifo.commands[taken_ & (fifo.depth - 1)];
    FifoCommand command{};
    // pairs with Fifo::push(): release
    command.tag_op_queue = kHost.load<Scope::sys, Order::acquire>(&slot.tag_op_queue);
    if (command.tag() != FifoCommand::tag_of(taken_)) break;
    command = slot;
    const uint32_t index = command.queue() * config_.table->ranks + command.peer;
    Lane& lane =
        lanes_.try_emplace(index, Lane{(*config_.queue_pairs)[index].get(), {}, {}}).first->second;
    if (!lane.busy) active_.push_back(&lane);
    lane.busy = true;
    lane.pending.push_back(request_of(command));
    lane.tickets.push_back(taken_);
    ++pending_;
    ++taken_;
  }
  if (n == 0) return false;
  // Credit for the kernel; pairs with Fifo::push(): acquire.
  kHost.store<Scope::sys, Order::release>(&fifo.state->tail, taken_);
  return true;
}

bool FifoProxy::post_pending() {
  bool moved = false;
  for (Lane* lane : active_) {
    if (lane->pending.empty()) continue;
    const auto some = std::min<size_t>(lane->pending.size(), kTakeMax);
    batch_.assign(lane->pending.begin(), lane->pending.begin() + static_cast<std::ptrdiff_t>(some));
    const PostOutcome outcome = lane->qp->post(batch_);
    if (outcome.posted > 0) {
      lane->pending.erase(lane->pending.begin(),
                          lane->pending.begin() + static_cast<std::ptrdiff_t>(outcome.posted));
      pending_ -= outcome.posted;
      posted_ += outcome.posted;
      ++batches_;
      moved = true;
    }
    if (!outcome.status.ok() && outcome.status.code != StatusCode::no_credit) {
      fail(outcome.status);
      pending_ -= lane->pending.size();
      lane->pending.clear();
    }
  }
  return moved;
}

bool FifoProxy::take_completions() {
  bool moved = false;
  const auto idle = [this, &moved](Lane* lane) {
    Status status;
    const uint64_t outstanding = lane->qp->outstanding(status);
    if (!status.ok()) fail(status);
    const uint64_t unfinished =
        lane->pending.size() + (status.ok() ? outstanding : 0);  // an error swallows the rest
    moved = moved || lane->tickets.size() > unfinished;
    while (lane->tickets.size() > unfinished) lane->tickets.pop_front();
    lane->busy = !lane->tickets.empty();
    return !lane->busy;
  };
  std::erase_if(active_, idle);
  return moved;
}

// Commands complete in order within a lane only: what is done for all is what precedes the oldest
// ticket of every lane.
void FifoProxy::publish_done() {
  uint64_t done = taken_;
  for (const Lane* lane : active_) done = std::min(done, lane->tickets.front());
  if (done == done_) return;
  done_ = done;
  kHost.store<Scope::sys, Order::release>(&ring_.state().done, done);  // pairs with Fifo::flush()
}

WorkRequest FifoProxy::request_of(const FifoCommand& command) const {
  const ChannelTable& table = *config_.table;
  const ChannelPeer& peer = table.peers[command.peer];
  const uint64_t window = reinterpret_cast<uint64_t>(table.window);
  WorkRequest request{};
  request.remote = {peer.base + command.remote_offset,
                    command.op() == FifoOp::put ? peer.rkey : peer.flag_rkey};
  request.value = command.payload;
  request.bytes = command.bytes;
  switch (command.op()) {
    case FifoOp::put:
      request.kind = WorkRequest::Kind::put;
      request.local = {window + command.payload, table.window_lkey};
      break;
    case FifoOp::put_value:
      request.kind = WorkRequest::Kind::put_value;
      break;
    case FifoOp::add_value:
      request.kind = WorkRequest::Kind::add_value;
      request.local = {window + table.atomic_result_offset, table.window_lkey};
      break;
  }
  return request;
}

void FifoProxy::fail(const Status& status) {
  FifoState& s = ring_.state();
  if (kHost.exchange<Scope::sys, Order::acq_rel>(&s.error.claimed, 1u) != 0) return;
  s.error.syndrome = status.syndrome;
  s.error.wqe_index = status.wqe_index;
  s.error_qpn = status.qpn;
  s.error_peer = status.peer;
  kHost.store<Scope::sys, Order::release>(
      &s.error.code,
      static_cast<uint32_t>(status.code));  // pairs with error_status()
}

FifoProxyThreads::FifoProxyThreads(const std::vector<FifoProxy*>& proxies, uint32_t max_threads) {
  const size_t threads = std::min<size_t>(proxies.size(), max_threads);
  for (size_t first = 0; first < threads; ++first) {
    threads_.emplace_back([proxies, first, threads](const std::stop_token& stop) {
      poll_until_stopped(stop, [&] {
        bool moved = false;
        for (size_t i = first; i < proxies.size(); i += threads) {
          moved = proxies[i]->step() || moved;
        }
        return moved;
      });
    });
  }
}

}  // namespace ringer
