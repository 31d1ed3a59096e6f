// SPDX-License-Identifier: Apache-2.0
// A queue pair of any NIC below a ring in mlx5's format: the host serves the ring.
#pragma once

#include <memory>
#include <mutex>

#include <ringer/verbs/posted_ring.hpp>
#include <ringer/verbs/ring_queue_pair.hpp>
#include <ringer/verbs/verbs_settings.hpp>

#include "cm_connector.hpp"
#include "completion_watch.hpp"
#include "ring_executor.hpp"

namespace ringer::verbs {

/// A device with the threads that serve its queue pairs.
struct ServedDevice : Device {
  /// Errors: BackendError.
  ServedDevice(const PortChoice& chosen, const VerbsSettings& wanted);
  Posting posting;
  InlineData inline_data;
  std::unique_ptr<CompletionWatch> watch;  ///< null: whoever posts polls
  std::unique_ptr<CmConnector> cm;         ///< null: both ends connect by themselves
  RingExecutor executor;
};

class ServedQueuePair : public RingQueuePair {
 public:
  /// Errors: BackendError with verb, device and errno.
  ServedQueuePair(std::shared_ptr<ServedDevice> device, const QueuePairConfig& config);
  ~ServedQueuePair() override;

  QueuePairAddress address() const override;
  void connect(const QueuePairAddress& remote, uint32_t peer) override;
  /// Whoever takes it posts by it: from then on the device's thread serves the ring. Waits for a
  /// peer that is to ask for the connection; BackendError if it does not.
  DeviceQp device_view() const override;
  PostOutcome post(std::span<const WorkRequest> requests) override;
  uint64_t outstanding(Status& status) override;
  Status first_error() const override;
  void post_receive(const LocalRef& buffer, uint32_t bytes) override;
  bool poll_receive(ReceiveCompletion& completion) override;

 private:
  void lay_out();
  Status connection();
  Owned<ibv_cq> create_cq(uint32_t cqes, ibv_comp_channel* channel) const;
  Owned<ibv_qp> create_qp(uint32_t inline_bytes);
  void create_queues();
  void register_slots();

  std::shared_ptr<ServedDevice> served_;
  KernelArray<uint8_t> block_;  // doorbell, doorbell record, CQEs, send ring
  InlineSlots slots_;
  Owned<ibv_mr> slots_region_;
  // The queue pair goes first, then what it uses.
  Owned<ibv_cq> send_cq_;
  Owned<ibv_cq> receive_cq_;
  Owned<ibv_qp> qp_;
  std::unique_ptr<SendPoster> sender_;
  std::unique_ptr<PostedRing> ring_;
  uint64_t received_ = 0;     // completions taken
  uint64_t to_receive_ = 0;   // buffers posted
  bool established_ = false;  // by librdmacm, as posts have found
  mutable std::once_flag enrolled_;
};

}  // namespace ringer::verbs
