// SPDX-License-Identifier: Apache-2.0
#include "raw_queue_pair.hpp"

#include <algorithm>
#include <cstring>

namespace ringer::mlx5 {

RawQueuePair::RawQueuePair(std::shared_ptr<Device> device, const QueuePairConfig& config)
    : device_(std::move(device)),
      config_(config),
      memory_(config.kernels != nullptr ? *config.kernels : host_memory()) {
  if (config.start_index != 0) {
    throw BackendError("create_queue_pair on " + device_->name() + ": a NIC begins at index 0");
  }
}

void RawQueuePair::adopt_rings() {
  heads_ = KernelArray<SqState>(memory_, 1, MemoryUse::kernel);
  range_ends_ = KernelArray<uint64_t>(memory_, view_.sq_wqebbs, MemoryUse::kernel);
  view_.layout_stamp = kDeviceQpStamp;
  view_.peer = kNoPeer;
  view_.state = heads_.data();
  view_.range_ends = range_ends_.data();
  if (memory_.host_reachable()) poster_.emplace(view_);
}

QueuePairAddress RawQueuePair::address() const {
  QueuePairAddress address{0,
                           view_.qpn,
                           device_->port.lid,
                           static_cast<uint8_t>(device_->port.active_mtu),
                           static_cast<uint8_t>(device_->is_ethernet()),
                           {}};
  std::memcpy(address.gid, device_->gid.raw, sizeof(address.gid));
  return address;
}

void RawQueuePair::require_same_link(const QueuePairAddress& remote, uint32_t peer) const {
  if (remote.is_ethernet == static_cast<uint8_t>(device_->is_ethernet()) && remote.mtu != 0) return;
  throw BackendError("connect: rank " + std::to_string(peer) + " is on another kind of link than " +
                     device_->choice.reason);
}

uint8_t RawQueuePair::mtu_with(const QueuePairAddress& remote) const {
  return std::min(static_cast<uint8_t>(device_->port.active_mtu), remote.mtu);
}

void RawQueuePair::connected_to(uint32_t peer) {
  view_.peer = peer;
  connected_ = true;
}

DeviceQp RawQueuePair::device_view() const {
  if (!connected_) {
    throw BackendError("device_view: queue pair " + std::to_string(view_.qpn) +
                       " is not connected");
  }
  return view_;
}

SqState RawQueuePair::read_heads() const {
  SqState heads;
  heads_.read({&heads, 1});
  return heads;
}

// The host may not reach the heads; CQEs it can read.
uint64_t RawQueuePair::outstanding(Status& status) {
  if (poster_) return poster_->outstanding(status);
  const SqState heads = read_heads();
  status = make_status(static_cast<StatusCode>(heads.error.code));
  return heads.resv_head - std::min(completed(heads), heads.resv_head);
}

// One past the last WQE that a CQE speaks of.
uint64_t RawQueuePair::completed(const SqState& heads) const {
  const auto tail_at = [&](uint64_t index) {
    const Cqe& cqe = static_cast<const Cqe*>(view_.cq)[slot_of(index, view_.cq_cqes)];
    if (near_queue_) {
      Be32 word;
      memory_.read(&word, &cqe.tail, sizeof(word));
      return CqeTail::of(word);
    }
    // pairs with the NIC's CQE write
    return CqeTail::of({HostPlatform{}.load<Scope::sys, Order::acquire>(&cqe.tail.raw)});
  };
  const auto after = [](uint64_t done, const CqeTail& tail) {
    return recover_index(done, static_cast<uint16_t>(tail.wqe_counter + 1));
  };
  uint64_t done = heads.cons_idx;
  if (view_.cq_mode == CqMode::collapsed) {
    const CqeTail tail = tail_at(0);
    return tail.opcode == CqeOpcode::invalid ? done : after(done, tail);
  }
  for (uint64_t ci = heads.cq_ci; ci < heads.cq_ci + view_.cq_cqes; ++ci) {
    const CqeTail tail = tail_at(ci);
    const bool lap = (ci & view_.cq_cqes) != 0;
    if (tail.opcode == CqeOpcode::invalid || tail.owner != lap) break;
    done = after(done, tail);
  }
  return done;
}

Status RawQueuePair::first_error() const {
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

void RawQueuePair::abort() {
  if (poster_) return poster_->abort();
  if (read_heads().error.code != 0) return;
  const QueueError aborted{static_cast<uint32_t>(StatusCode::aborted), 1, 0, 0, 0};
  memory_.write(&view_.state->error, &aborted, sizeof(aborted));
}

}  // namespace ringer::mlx5
