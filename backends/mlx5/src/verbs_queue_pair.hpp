// SPDX-License-Identifier: Apache-2.0
// A queue pair that the provider has made, in host memory, seen through mlx5dv.
#pragma once

#include <ringer/verbs/ring_queue_pair.hpp>

#include "mlx5_device.hpp"

namespace ringer::mlx5 {

class VerbsQueuePair : public verbs::RingQueuePair {
 public:
  /// Errors: BackendError with verb, device and errno.
  VerbsQueuePair(std::shared_ptr<Device> device, const QueuePairConfig& config);

  void connect(const QueuePairAddress& remote, uint32_t peer) override;
  void post_receive(const LocalRef& buffer, uint32_t bytes) override {
    receiver_->post(buffer, bytes);
  }
  bool poll_receive(ReceiveCompletion& completion) override { return receiver_->poll(completion); }

 private:
  void create_domain();
  Owned<ibv_cq> create_cq(uint32_t cqes) const;
  Owned<ibv_qp> create_qp(uint32_t wqes) const;
  void create_rings();
  void inspect(mlx5dv_qp* qp, ibv_cq* cq, mlx5dv_cq* inside) const;
  void look_inside();

  std::shared_ptr<Device> nic_;
  // The queue pair goes first, then what it uses.
  Owned<ibv_td> thread_domain_;
  Owned<ibv_pd> domain_;
  Owned<ibv_cq> send_cq_;
  Owned<ibv_cq> receive_cq_;
  Owned<ibv_qp> qp_;
  std::optional<HostReceiver> receiver_;
};

}  // namespace ringer::mlx5
