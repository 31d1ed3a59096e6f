// SPDX-License-Identifier: Apache-2.0
// Host side of the command ring: takes commands, batches them per queue pair and posts them through
// the backend's control plane. One proxy owns the queue pairs of its shard alone.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <thread>
#include <unordered_map>
#include <vector>

#include <ringer/channel.hpp>
#include <ringer/control_plane.hpp>

namespace ringer {

/// The command ring's memory. Address-stable while it lives.
class FifoRing {
 public:
  /// `memory`: of the kernels that push.
  explicit FifoRing(uint32_t depth, KernelMemory& memory = host_memory());
  DeviceFifo device_view() const {
    return {commands_.data(), static_cast<uint32_t>(commands_.size()), state_.data()};
  }
  FifoState& state() const { return *state_.data(); }

 private:
  KernelArray<FifoCommand> commands_;
  KernelArray<FifoState> state_;
};

/// What a proxy needs to know of the channel that it serves.
struct FifoProxyConfig {
  const ChannelTable* table = nullptr;  ///< peers and the own window
  /// Queue pair of (queue, peer): `queue * ranks + peer`. Only those of the shard are touched.
  const std::vector<std::unique_ptr<QueuePair>>* queue_pairs = nullptr;
};

/// Drains one command ring. `step` never waits, so a proxy can run on a thread of its own or be
/// stepped by a test.
class FifoProxy {
 public:
  FifoProxy(FifoRing& ring, const FifoProxyConfig& config) : ring_(ring), config_(config) {}

  /// Takes commands, posts what has credit, takes in completions. True if anything moved.
  bool step();

  /// Transfers posted so far, and doorbells they cost: their ratio is the batching.
  uint64_t posted() const { return posted_; }
  uint64_t batches() const { return batches_; }

 private:
  struct Lane {
    QueuePair* qp;
    std::deque<WorkRequest> pending;
    std::deque<uint64_t> tickets;  ///< of the pending and the outstanding, oldest first
    bool busy = false;             ///< has transfers that are not known complete
  };

  bool take_commands();
  bool post_pending();
  bool take_completions();
  void publish_done();
  WorkRequest request_of(const FifoCommand& command) const;
  void fail(const Status& status);

  FifoRing& ring_;
  FifoProxyConfig config_;
  std::unordered_map<uint32_t, Lane> lanes_;
  std::vector<Lane*> active_;
  std::vector<WorkRequest> batch_;
  uint64_t taken_ = 0;
  uint64_t done_ = 0;
  uint64_t posted_ = 0;
  uint64_t batches_ = 0;
  size_t pending_ = 0;
};

/// Runs proxies on at most `max_threads` threads until destroyed; a proxy stays on one thread.
class FifoProxyThreads {
 public:
  FifoProxyThreads(const std::vector<FifoProxy*>& proxies, uint32_t max_threads);

 private:
  std::vector<std::jthread> threads_;
};

}  // namespace ringer
