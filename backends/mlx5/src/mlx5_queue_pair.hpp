// SPDX-License-Identifier: Apache-2.0
// A queue pair that the provider has made, seen through mlx5dv: raw rings and registers.
#pragma once

#include <memory>
#include <optional>

#include <ringer/control_plane.hpp>
#include <ringer/host_queue.hpp>

#include "mlx5_device.hpp"

namespace ringer::mlx5 {

class Mlx5QueuePair : public QueuePair {
 public:
  /// Errors: BackendError with verb, device and errno.
  Mlx5QueuePair(std::shared_ptr<Device> device, const QueuePairConfig& config);

  QueuePairAddress address() const override;
  void connect(const QueuePairAddress& remote, uint32_t peer) override;
  DeviceQp device_view() const override;
  PostOutcome post(std::span<const WorkRequest> requests) override {
    return poster_->post(requests);
  }
  uint64_t outstanding(Status& status) override { return poster_->outstanding(status); }
  Status first_error() const override;
  void post_receive(const LocalRef& buffer, uint32_t bytes) override {
    receiver_->post(buffer, bytes);
  }
  bool poll_receive(ReceiveCompletion& completion) override { return receiver_->poll(completion); }
  void abort() override { poster_->abort(); }

 private:
  void create_domain();
  Owned<ibv_cq> create_cq(uint32_t cqes) const;
  Owned<ibv_qp> create_qp(uint32_t wqes) const;
  void create_rings();
  void inspect(mlx5dv_qp* qp, ibv_cq* cq, mlx5dv_cq* inside) const;
  void look_inside();
  void modify(ibv_qp_attr& attributes, int mask, const char* verb);
  void enter_init();
  void enter_rtr(const QueuePairAddress& remote);
  void enter_rts();

  std::shared_ptr<Device> device_;
  QueuePairConfig config_;
  KernelMemory& memory_;
  KernelArray<SqState> heads_;
  KernelArray<uint64_t> range_ends_;
  // The queue pair goes first, then what it uses.
  Owned<ibv_td> thread_domain_;
  Owned<ibv_pd> domain_;
  Owned<ibv_cq> send_cq_;
  Owned<ibv_cq> receive_cq_;
  Owned<ibv_qp> qp_;
  DeviceQp view_{};
  std::optional<HostPoster> poster_;
  std::optional<HostReceiver> receiver_;
  bool connected_ = false;
};

}  // namespace ringer::mlx5
