// SPDX-License-Identifier: Apache-2.0
// One rank's end of an expert-parallel group: its window, queue pairs, command rings and the tables
// that kernels read. Set-up is collective and all-or-nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <ringer/control_plane.hpp>
#include <ringer/ep/args.hpp>
#include <ringer/ep/paths.hpp>
#include <ringer/ep/peer_windows.hpp>
#include <ringer/fifo_proxy.hpp>
#include <ringer/kernel_memory.hpp>

namespace ringer::ep {

/// Where this rank is, as far as paths depend on it.
struct RankPlacement {
  uint64_t node = 0;
  PathRequest request = PathRequest::automatic;
  PathOverride override_path{};
  KernelMemory* kernels = nullptr;  ///< where its kernels run; null: on the host
};

/// A rank's failure in words: stage, status, peer.
std::string describe(const FailureRecord& failure);

/// Collective: every rank constructs its Buffer with the same Config at the same time. If one rank
/// cannot, none goes on: all throw BackendError with that rank's reason. Before destruction all
/// ranks must have stopped launching and be quiet(). A process with several ranks calls
/// close_peers() on each before it destroys the first: the destructor waits, no longer than
/// Config::timeout_ns, until ranks of other processes have closed this rank's window.
class Buffer {
 public:
  Buffer(Exchange& exchange, Backend& backend, const Config& config,
         const RankPlacement& placement);
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  uint32_t rank() const { return rank_; }
  const Config& config() const { return config_; }
  const Layout& layout() const { return layout_; }
  /// Paths between all ranks, row by row.
  const std::vector<PathChoice>& paths() const { return paths_; }
  uint32_t queue_pairs() const { return queue_pair_count_; }

  /// Arguments shared by the kernels; valid while the Buffer lives.
  CommonArgs common_args();

  /// The rows of a local expert that a zero-copy combine sends next: write results here, BF16,
  /// [ranks * max_tokens][hidden], after dispatch and before combine.
  uint16_t* combine_stage(uint32_t local_expert) const;

  /// First failure since construction; `code` 0 = none. A Buffer that has failed stays failed.
  FailureRecord failure() const;
  /// The first failure; where the kernels saw only the flush that followed an error, the error.
  FailureRecord failure_cause() const;
  /// failure_cause() in words.
  std::string describe_failure() const { return describe(failure_cause()); }
  /// Ends every wait of this rank's kernels with StatusCode::aborted.
  void abort();
  /// True when nothing that this rank has posted is outstanding, or its queue pairs have failed.
  bool quiet();
  /// Closes the windows of ranks in other processes. Nothing may be launched afterwards.
  void close_peers();

  /// Host proxies of this rank's command rings, one a ring; somebody must step them (threads or a
  /// test). Empty if no peer is on the FIFO path.
  std::vector<FifoProxy*> proxies() const;

 private:
  void agree(Exchange& exchange, const RankPlacement& placement);
  void plan_queue_pairs();
  void create_resources();
  void register_window();
  void connect(Exchange& exchange);
  void map_windows(Exchange& exchange);
  void open_windows(Exchange& exchange, const std::vector<PeerWindows::Handles>& handles);
  void build_table();
  Path path_to(uint32_t peer) const { return paths_[size_t{rank_} * config_.ranks + peer].path; }

  Config config_;
  uint32_t rank_;
  KernelMemory& memory_;
  Layout layout_{};
  std::vector<PathChoice> paths_;
  std::vector<uint32_t> opened_peers_;  // mapped peers in other processes
  uint32_t queue_pair_count_ = 0;
  std::unique_ptr<Nic> nic_;
  KernelArray<uint8_t> window_;
  std::unique_ptr<PeerWindows> peer_windows_;  // null if there are no such peers
  std::unique_ptr<MemoryRegion> region_;       // payload: writes may be reordered; null: no NIC
  std::unique_ptr<MemoryRegion> flag_region_;  // the same window, for flags
  std::vector<std::unique_ptr<QueuePair>> queue_pairs_;  // [queue * ranks + peer]; null on IPC
  std::vector<ChannelPeer> peers_;
  std::vector<std::unique_ptr<FifoRing>> rings_;
  std::vector<std::unique_ptr<FifoProxy>> proxies_;
  ChannelTable table_{};       // as kernels see it
  ChannelTable host_table_{};  // the same for the proxies: its peers are host memory
  KernelArray<ChannelPeer> kernel_peers_;
  KernelArray<DeviceQp> kernel_qps_;
  KernelArray<DeviceFifo> kernel_fifos_;
  KernelArray<uint64_t> counters_;  // backing of the DeviceState arrays
  KernelArray<DeviceState> state_;
};

}  // namespace ringer::ep
