// SPDX-License-Identifier: Apache-2.0
// What queue pairs have in common however they were made: heads of ours, rings and registers as the
// device uses them.
#pragma once

#include <memory>
#include <optional>

#include <ringer/control_plane.hpp>
#include <ringer/host_queue.hpp>
#include <ringer/verbs/device.hpp>

namespace ringer::verbs {

class RingQueuePair : public QueuePair {
 public:
  QueuePairAddress address() const override;
  DeviceQp device_view() const override;
  PostOutcome post(std::span<const WorkRequest> requests) override {
    return poster_->post(requests);
  }
  uint64_t outstanding(Status& status) override;
  Status first_error() const override;
  void abort() override;

 protected:
  RingQueuePair(std::shared_ptr<Device> device, const QueuePairConfig& config);

  /// Once the rings are there: fills in what belongs to all, `view_` has the rest.
  void adopt_rings();
  void connected_to(uint32_t peer);

  std::shared_ptr<Device> device_;
  QueuePairConfig config_;
  KernelMemory& memory_;
  DeviceQp view_{};
  bool near_queue_ = false;  // the rings are where only read() and write() reach them

 private:
  SqState read_heads() const;
  uint64_t completed(const SqState& heads) const;

  KernelArray<SqState> heads_;
  KernelArray<uint64_t> range_ends_;
  std::optional<HostPoster> poster_;  // if the host reaches the heads
  bool connected_ = false;
};

}  // namespace ringer::verbs
