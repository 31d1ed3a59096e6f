// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include <ringer/host_queue.hpp>

namespace ringer {

PostOutcome HostPoster::post(std::span<const WorkRequest> requests) {
  if (Status status = queue_.completions().poll(); !status.ok()) return {status, 0};
  const auto too_large = [](const WorkRequest& r) { return r.bytes > Wire::kMaxMessageBytes; };
  if (std::any_of(requests.begin(), requests.end(), too_large)) {
    return {make_status(StatusCode::invalid), 0};
  }
  const size_t count = std::min<size_t>(requests.size(), queue_.credit());
  size_t posted = 0;
  while (posted < count) {
    const auto n =
        static_cast<uint32_t>(std::min<size_t>(count - posted, queue_.max_reservation()));
    const Reserved reserved = queue_.try_reserve(n);
    if (!reserved.status.ok()) return {reserved.status, posted};
    for (uint32_t i = 0; i < n; ++i) {
      const uint64_t index = reserved.range.base + i;
      const bool last = posted + i + 1 == count;
      queue_.write(index, build(requests[posted + i], index, last));
    }
    posted += n;
    queue_.publish(reserved.range, posted == count, {});  // exclusive: never waits
  }
  return {make_status(posted < requests.size() ? StatusCode::no_credit : StatusCode::ok), posted};
}

uint64_t HostPoster::outstanding(Status& status) {
  status = queue_.completions().poll();
  return queue_.resv_head() - queue_.completions().cons_idx();
}

void HostReceiver::post(const LocalRef& buffer, uint32_t bytes) {
  if (posted_ - taken_ >= rings_.wqes) {
    throw BackendError("post_receive: the receive ring of " + std::to_string(rings_.wqes) +
                       " is full");
  }
  uint8_t* wqe = rings_.rq + size_t{slot_of(posted_, rings_.wqes)} * rings_.stride;
  const mlx5::DataSeg entry = mlx5::make_data(buffer, bytes);
  std::memcpy(wqe, &entry, sizeof(entry));
  if (rings_.stride > sizeof(entry)) {
    const mlx5::DataSeg end{Be32::of(0), Be32::of(mlx5::kInvalidKey), Be64::of(0)};
    std::memcpy(wqe + sizeof(entry), &end, sizeof(end));
  }
  ++posted_;
  // pairs with the NIC's read of the receive element
  HostPlatform{}.store<Scope::sys, Order::release>(&rings_.dbr->raw,
                                                   mlx5::Wire::dbr_value(posted_).raw);
}

bool HostReceiver::poll(ReceiveCompletion& completion) {
  if (rings_.wqes == 0) return false;
  const mlx5::Cqe& cqe = rings_.cq[slot_of(taken_, rings_.cqes)];
  // pairs with the NIC's CQE write
  const auto tail =
      mlx5::CqeTail::of({HostPlatform{}.load<Scope::sys, Order::acquire>(&cqe.tail.raw)});
  const bool lap = (taken_ & rings_.cqes) != 0;
  if (tail.opcode == mlx5::CqeOpcode::invalid || tail.owner != lap) return false;
  completion = {{}, recover_index(taken_, tail.wqe_counter), cqe.byte_cnt.value(), cqe.imm.value()};
  if (tail.is_error()) {
    completion.status = {StatusCode::qp_error, mlx5::syndrome_of(cqe.error_word), view_.qpn,
                         view_.peer, completion.index};
  }
  ++taken_;
  HostPlatform{}.store<Scope::sys, Order::release>(  // room for the NIC
      &rings_.cq_dbr[mlx5::Wire::kCqDbrConsumer].raw, mlx5::Wire::cq_dbr_value(taken_).raw);
  return true;
}

HostPoster::Wire::Wqe HostPoster::build(const WorkRequest& r, uint64_t index, bool last) const {
  const Wire::Head head{index, view_.qpn, Wire::signal_flags(queue_.must_signal(index, last))};
  switch (r.kind) {
    case WorkRequest::Kind::put:
      return Wire::make_write(head, r.local, r.remote, r.bytes);
    case WorkRequest::Kind::put_value:
      return Wire::make_write_value(head, r.value, r.remote);
    case WorkRequest::Kind::add_value:
      return Wire::make_fetch_add(head, r.value, r.local, r.remote);
  }
  return Wire::make_nop(head);
}

}  // namespace ringer
