// SPDX-License-Identifier: Apache-2.0
// A queue pair made by firmware commands over memory of ours: rings and records where kernels reach
// them, a completion queue as wished for, a doorbell register of its own.
#pragma once

#include <optional>

#include <ringer/mlx5/prm.hpp>
#include <ringer/verbs/ring_queue_pair.hpp>

#include "doorbell_register.hpp"

namespace ringer::mlx5 {

/// Has no receive ring.
class DevxQueuePair : public verbs::RingQueuePair {
 public:
  /// Errors: BackendError with command, device, errno and the firmware's syndrome.
  DevxQueuePair(std::shared_ptr<Device> device, const QueuePairConfig& config);

  void connect(const QueuePairAddress& remote, uint32_t peer) override;
  void post_receive(const LocalRef& buffer, uint32_t bytes) override;
  bool poll_receive(ReceiveCompletion&) override { return false; }

 private:
  using Modify = prm::Record<prm::modify_qp::kBytes>;

  void lay_out();
  void create_cq();
  void create_qp();
  Owned<mlx5dv_devx_obj> create(const void* command, size_t bytes, const char* name,
                                uint32_t* number);
  Modify modification(prm::Opcode opcode) const;
  void modify(const Modify& command, const char* name);
  void enter_init();
  void enter_rtr(const QueuePairAddress& remote);
  void enter_rts();
  void set_ethernet_path(Modify& command, const QueuePairAddress& remote) const;

  std::shared_ptr<Device> nic_;
  KernelArray<uint8_t> block_;  // doorbell records, CQEs, send ring
  uint64_t records_at_ = 0;
  uint64_t cq_at_ = 0;
  uint64_t sq_at_ = 0;
  // Objects go first, then the memory and the register that they use.
  std::optional<DoorbellRegister> register_;
  Owned<mlx5dv_devx_umem> memory_of_queues_;
  Owned<mlx5dv_devx_obj> cq_;
  Owned<mlx5dv_devx_obj> qp_;
  uint32_t cqn_ = 0;
};

}  // namespace ringer::mlx5
