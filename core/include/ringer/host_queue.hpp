// SPDX-License-Identifier: Apache-2.0
// What host code does with a queue pair of whatever backend: posts to its send ring, feeds its
// receive ring, takes completions. The rings are plain memory by then.
#pragma once

#include <cstdint>
#include <span>

#include <ringer/control_plane.hpp>
#include <ringer/host_platform.hpp>
#include <ringer/mlx5/wire.hpp>
#include <ringer/send_queue.hpp>

namespace ringer {

/// A receive ring of `wqes` WQEs with one data segment in use each, and its completion queue.
struct ReceiveRings {
  uint8_t* rq = nullptr;
  uint32_t wqes = 0;    ///< power of two; 0: there is none
  uint32_t stride = 0;  ///< bytes of a WQE
  Be32* dbr = nullptr;  ///< the receive element
  mlx5::Cqe* cq = nullptr;
  uint32_t cqes = 0;  ///< power of two
  Be32* cq_dbr = nullptr;
};

/// Receives. One thread uses it.
class HostReceiver {
 public:
  /// `view` must outlive it.
  HostReceiver(const DeviceQp& view, const ReceiveRings& rings) : view_(view), rings_(rings) {}

  /// As QueuePair::post_receive() and poll_receive().
  void post(const LocalRef& buffer, uint32_t bytes);
  bool poll(ReceiveCompletion& completion);

 private:
  const DeviceQp& view_;
  ReceiveRings rings_;
  uint64_t posted_ = 0;
  uint64_t taken_ = 0;
};

/// Posts, where the host reaches the queue pair's heads. One thread uses it.
class HostPoster {
 public:
  /// `view` must outlive it.
  explicit HostPoster(const DeviceQp& view) : view_(view), queue_(HostPlatform{}, view) {}

  /// As QueuePair::post() and outstanding().
  PostOutcome post(std::span<const WorkRequest> requests);
  uint64_t outstanding(Status& status);
  /// Ends every wait with StatusCode::aborted. From any thread.
  void abort() { queue_.completions().fail(make_status(StatusCode::aborted)); }

 private:
  using Wire = mlx5::Wire;
  using Policy = QueuePolicy<Sharing::exclusive, Placement::host>;
  Wire::Wqe build(const WorkRequest& request, uint64_t index, bool last) const;

  const DeviceQp& view_;
  SendQueue<HostPlatform, Wire, Policy> queue_;
};

}  // namespace ringer
