// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <bit>

#include <ringer/verbs/rc_connection.hpp>
#include <ringer/verbs/ring_queue_pair.hpp>

namespace ringer::verbs {

RingQueuePair::RingQueuePair(std::shared_ptr<Device> device, const QueuePairConfig& config)
    : device_(std::move(device)),
      config_(config),
      memory_(config.kernels != nullptr ? *config.kernels : host_memory()) {
  if (config.start_index != 0) {
    throw BackendError("create_queue_pair on " + device_->name() + ": a NIC begins at index 0");
  }
  if (!std::has_single_bit(config.sq_wqebbs) || config.sq_wqebbs > mlx5::Wire::kMaxSqWqebbs) {
    throw BackendError("create_queue_pair on " + device_->name() + ": a send ring of " +
                       std::to_string(config.sq_wqebbs) + " blocks, not a power of two up to " +
                       std::to_string(mlx5::Wire::kMaxSqWqebbs));
  }
}

void RingQueuePair::adopt_rings() {
  heads_ = KernelArray<SqState>(memory_, 1, MemoryUse::kernel);
  range_ends_ = KernelArray<uint64_t>(memory_, view_.sq_wqebbs, MemoryUse::kernel);
  view_.layout_stamp = kDeviceQpStamp;
  view_.peer = kNoPeer;
  view_.state = heads_.data();
  view_.range_ends = range_ends_.data();
  if (memory_.host_reachable()) poster_.emplace(view_);
}

QueuePairAddress RingQueuePair::address() const { return address_of(*device_, view_.qpn); }

void RingQueuePair::connected_to(uint32_t peer) {
  view_.peer = peer;
  connected_ = true;
}

DeviceQp RingQueuePair::device_view() const {
  if (!connected_) {
    throw BackendError("device_view: queue pair " + std::to_string(view_.qpn) +
                       " is not connected");
  }
  return view_;
}

SqState RingQueuePair::read_heads() const {
  SqState heads;
  heads_.read({&heads, 1});
  return heads;
}

// The host may not reach the heads; CQEs it can read.
uint64_t RingQueuePair::outstanding(Status& status) {
  if (poster_) return poster_->outstanding(status);
  const SqState heads = read_heads();
  status = make_status(static_cast<StatusCode>(heads.error.code));
  return heads.resv_head - std::min(completed(heads), heads.resv_head);
}

// One past the last WQE that a CQE speaks of.
uint64_t RingQueuePair::completed(const SqState& heads) const {
  const auto tail_at = [&](uint64_t index) {
    const mlx5::Cqe& cqe = static_cast<const mlx5::Cqe*>(view_.cq)[slot_of(index, view_.cq_cqes)];
    if (near_queue_) {
      Be32 word;
      memory_.read(&word, &cqe.tail, sizeof(word));
      return mlx5::CqeTail::of(word);
    }
    // pairs with the NIC's CQE write
    return mlx5::CqeTail::of({HostPlatform{}.load<Scope::sys, Order::acquire>(&cqe.tail.raw)});
  };
  const auto after = [](uint64_t done, const mlx5::CqeTail& tail) {
    return recover_index(done, static_cast<uint16_t>(tail.wqe_counter + 1));
  };
  uint64_t done = heads.cons_idx;
  if (view_.cq_mode == CqMode::collapsed) {
    const mlx5::CqeTail tail = tail_at(0);
    return tail.opcode == mlx5::CqeOpcode::invalid ? done : after(done, tail);
  }
  for (uint64_t ci = heads.cq_ci; ci < heads.cq_ci + view_.cq_cqes; ++ci) {
    const mlx5::CqeTail tail = tail_at(ci);
    const bool lap = (ci & view_.cq_cqes) != 0;
    if (tail.opcode == mlx5::CqeOpcode::invalid || tail.owner != lap) break;
    done = after(done, tail);
  }
  return done;
}

Status RingQueuePair::first_error() const {
  const QueueError error = read_heads().error;
  Status status;
  if (static_cast<StatusCode>(error.code) != StatusCode::qp_error) return status;
  status.code = StatusCode::qp_error;
  status.syndrome = error.syndrome;
  status.wqe_index = error.wqe_index;
  status.qpn = view_.qpn;
  status.peer = view_.peer;
  return status;
}

void RingQueuePair::abort() {
  if (poster_) return poster_->abort();
  if (read_heads().error.code != 0) return;
  const QueueError aborted{static_cast<uint32_t>(StatusCode::aborted), 1, 0, 0, 0};
  memory_.write(&view_.state->error, &aborted, sizeof(aborted));
}

}  // namespace ringer::verbs
