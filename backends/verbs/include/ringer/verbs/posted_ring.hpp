// SPDX-License-Identifier: Apache-2.0
// What has been posted to a ring in mlx5's format, carried out by libibverbs on whatever NIC there
// is: the host in a ConnectX's place.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include <ringer/control_plane.hpp>
#include <ringer/mlx5/wire.hpp>
#include <ringer/verbs/verbs_library.hpp>

namespace ringer::verbs {

/// Hands work requests to a queue pair. Between start() and finish() requests are only collected.
class SendPoster {
 public:
  virtual ~SendPoster() = default;
  virtual void start() = 0;
  virtual void add(const ibv_send_wr& request) = 0;
  /// One doorbell for all. False if the NIC refuses any; `refused` is the wr_id of the first then,
  /// or as it was, if none of them has been taken.
  virtual bool finish(uint64_t& refused) = 0;
};

/// By ibv_wr_*; the queue pair was created for the operations in kSendOperations.
std::unique_ptr<SendPoster> make_wr_poster(const VerbsLibrary& verbs, ibv_qp* qp);
inline constexpr uint64_t kSendOperations =
    IBV_QP_EX_WITH_RDMA_WRITE | IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM | IBV_QP_EX_WITH_SEND |
    IBV_QP_EX_WITH_RDMA_READ | IBV_QP_EX_WITH_ATOMIC_CMP_AND_SWP |
    IBV_QP_EX_WITH_ATOMIC_FETCH_AND_ADD;
/// By ibv_post_send().
std::unique_ptr<SendPoster> make_list_poster(ibv_qp* qp);

/// mlx5's syndrome for what libibverbs reports.
mlx5::Syndrome syndrome_of(ibv_wc_status status);

/// Memory for inline data of each slot of a ring, where the NIC takes none with the request.
struct InlineSlots {
  static constexpr uint32_t kBytes = 32;
  std::vector<uint8_t> bytes;  ///< kBytes a slot; empty: the NIC takes it
  uint32_t lkey = 0;
};

/// The consumer of one send ring and producer of its completions. Any thread may drive it.
class PostedRing {
 public:
  /// `view` must outlive it. `cq` has room for all WQEBBs of the ring; `told` if somebody calls
  /// take_completions() once there are any. `enter_error` brings the queue pair into its error
  /// state.
  PostedRing(const DeviceQp& view, SendPoster& poster, ibv_cq* cq, bool told, InlineSlots& slots,
             std::function<void()> enter_error)
      : view_(view),
        poster_(poster),
        cq_(cq),
        told_(told),
        slots_(slots),
        enter_error_(std::move(enter_error)) {}

  /// Posts what has been rung, and passes completions on unless it is told of them. Never waits.
  /// True if there was anything.
  bool step();
  /// Passes all completions on that there are.
  void take_completions();
  /// Nobody will tell of completions any more.
  void take_by_polling() {
    const std::lock_guard lock(mutex_);
    told_ = false;
  }

  /// The first completion with an error; ok: none so far.
  Status first_error() const {
    const std::lock_guard lock(mutex_);
    return first_error_;
  }

 private:
  using Wire = mlx5::Wire;
  bool post();
  bool complete();
  void fail(uint64_t index, mlx5::Syndrome syndrome);
  void write_cqe(uint64_t index, mlx5::CqeOpcode opcode, mlx5::Syndrome syndrome);

  const DeviceQp& view_;
  SendPoster& poster_;
  ibv_cq* cq_;
  bool told_;
  InlineSlots& slots_;
  std::function<void()> enter_error_;
  mutable std::mutex mutex_;
  uint64_t taken_ = 0;      // WQEs handed to libibverbs
  uint64_t completed_ = 0;  // CQEs written
  Status first_error_;
};

}  // namespace ringer::verbs
