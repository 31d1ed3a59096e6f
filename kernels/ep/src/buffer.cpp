// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include <unistd.h>

#include <ringer/ep/buffer.hpp>
#include <ringer/host_platform.hpp>

#include "agreement.hpp"

namespace ringer::ep {

Buffer::Buffer(Exchange& exchange, Backend& backend, const Config& config,
               const RankPlacement& placement)
    : config_(config),
      rank_(exchange.rank()),
      memory_(placement.kernels != nullptr ? *placement.kernels : host_memory()) {
  collective_step(exchange, [&] {
    if (exchange.ranks() != config.ranks) {
      throw BackendError("configured for " + std::to_string(config.ranks) +
                         " ranks, but there are " + std::to_string(exchange.ranks()));
    }
    layout_ = make_layout(config_);
    nic_ = backend.open_nic(rank_);
  });
  require_same(exchange, config_);
  agree(exchange, placement);
  collective_step(exchange, [&] { plan_queue_pairs(); });
  collective_step(exchange, [&] { create_resources(); });
  connect(exchange);
  map_windows(exchange);
  collective_step(exchange, [&] { build_table(); });
}

// Queue pairs and regions go before the memory that they name, and peers leave the window first.
Buffer::~Buffer() {
  proxies_.clear();
  queue_pairs_.clear();
  region_.reset();
  flag_region_.reset();
  peer_windows_.reset();
}

void Buffer::close_peers() {
  if (peer_windows_) peer_windows_->close();
}

void Buffer::agree(Exchange& exchange, const RankPlacement& placement) {
  const NicCaps caps = nic_->caps();
  // Process numbers of different hosts or containers may be the same.
  const uint64_t process = host_identity() ^ (static_cast<uint64_t>(getpid()) << 32);
  const RankFacts mine{placement.node,
                       process,
                       placement.request,
                       caps.device_posting ? 1u : 0u,
                       memory_.sharing_domain(),
                       caps.own_process_only ? 1u : 0u,
                       0};
  const std::vector<RankFacts> facts = all_gather_value(exchange, mine);
  collective_step(exchange, [&] { paths_ = choose_paths(facts, placement.override_path); });
  for (uint32_t peer = 0; peer < config_.ranks; ++peer) {
    const bool here = facts[peer].address_space == process;
    if (!here && path_to(peer) == Path::ipc) opened_peers_.push_back(peer);
  }
  // A hash, for the matrices of all ranks would be ranks^3 entries on each of them.
  uint64_t hash = 14695981039346656037u;  // FNV-1a
  for (const PathChoice& choice : paths_) {
    hash = (hash ^ static_cast<uint64_t>(choice.path)) * 1099511628211u;
  }
  const std::vector<uint64_t> hashes = all_gather_value(exchange, hash);
  collective_step(exchange, [&] {
    for (uint32_t r = 0; r < config_.ranks; ++r) {
      if (hashes[r] != hash) {
        throw BackendError("disagrees with rank " + std::to_string(r) + " about the paths");
      }
    }
  });
}

void Buffer::plan_queue_pairs() {
  uint32_t peers = 0;
  bool fifo = false;
  for (uint32_t peer = 0; peer < config_.ranks; ++peer) {
    peers += path_to(peer) == Path::ipc ? 0 : 1;
    fifo = fifo || path_to(peer) == Path::fifo;
  }
  queue_pair_count_ = peers * config_.experts_per_rank;
  const NicCaps caps = nic_->caps();
  if (queue_pair_count_ > caps.max_queue_pairs) {
    throw BackendError("needs " + std::to_string(queue_pair_count_) + " queue pairs (" +
                       std::to_string(config_.experts_per_rank) + " local experts x " +
                       std::to_string(peers) + " peers off the node), but " + caps.name + " has " +
                       std::to_string(caps.max_queue_pairs) + " left");
  }
  if (config_.ring_wqebbs > caps.max_sq_wqebbs) {
    throw BackendError("asks for rings of " + std::to_string(config_.ring_wqebbs) +
                       " WQEBBs, but " + caps.name + " has at most " +
                       std::to_string(caps.max_sq_wqebbs));
  }
  if (peers != 0 && config_.flags == FlagPolicy::atomic_add && !caps.atomics) {
    throw BackendError("asks for atomic flags, but " + caps.name + " has no atomics");
  }
  if (fifo) rings_.resize(config_.fifo_count);
}

void Buffer::create_resources() {
  const bool shared = !opened_peers_.empty();
  window_ = KernelArray<uint8_t>(memory_, layout_.window_bytes,
                                 shared ? MemoryUse::shared_window : MemoryUse::window);
  if (shared) {
    peer_windows_ =
        std::make_unique<PeerWindows>(memory_, window_, rank_, config_.ranks, config_.timeout_ns);
  }
  if (queue_pair_count_ != 0) register_window();
  queue_pairs_.resize(size_t{config_.experts_per_rank} * config_.ranks);
  QueuePairConfig config;
  config.sq_wqebbs = config_.ring_wqebbs;
  config.cq_mode = config_.cq_mode;
  config.start_index = config_.start_index;
  for (uint32_t queue = 0; queue < config_.experts_per_rank; ++queue) {
    for (uint32_t peer = 0; peer < config_.ranks; ++peer) {
      if (path_to(peer) == Path::ipc) continue;
      config.kernels = path_to(peer) == Path::ibgda ? &memory_ : nullptr;
      queue_pairs_[size_t{queue} * config_.ranks + peer] = nic_->create_queue_pair(config);
    }
  }
  for (auto& ring : rings_) ring = std::make_unique<FifoRing>(config_.fifo_depth, memory_);
}

// Nobody comes by a NIC where all peers map the window.
void Buffer::register_window() {
  const auto reached_with = [this](uint32_t rights) {
    return nic_->register_memory(window_.data(), window_.size(), rights, &memory_);
  };
  region_ = reached_with(access::all | access::relaxed_order);
  flag_region_ = reached_with(access::all);
}

void Buffer::connect(Exchange& exchange) {
  std::vector<QueuePairAddress> mine(queue_pairs_.size());
  for (size_t i = 0; i < mine.size(); ++i) {
    if (queue_pairs_[i]) mine[i] = queue_pairs_[i]->address();
  }
  const auto all = exchange.all_gather(std::as_bytes(std::span(mine)));
  collective_step(exchange, [&] {
    for (size_t i = 0; i < mine.size(); ++i) {
      if (!queue_pairs_[i]) continue;
      const auto peer = static_cast<uint32_t>(i % config_.ranks);
      // The other end: the same queue at the peer, towards us.
      const size_t theirs = i - peer + rank_;
      QueuePairAddress remote;
      std::memcpy(&remote, all[peer].data() + theirs * sizeof(remote), sizeof(remote));
      queue_pairs_[i]->connect(remote, peer);
    }
  });
}

void Buffer::map_windows(Exchange& exchange) {
  struct WindowFacts {
    uint64_t base;
    uint32_t rkey;
    uint32_t flag_rkey;
    PeerWindows::Handles handles;
  };
  WindowFacts mine{};
  mine.base = reinterpret_cast<uint64_t>(window_.data());
  if (region_) {
    mine.rkey = region_->rkey();
    mine.flag_rkey = flag_region_->rkey();
  }
  collective_step(exchange, [&] {
    if (peer_windows_) mine.handles = peer_windows_->share();
  });
  const auto windows = all_gather_value(exchange, mine);
  std::vector<PeerWindows::Handles> handles;
  for (uint32_t peer = 0; peer < config_.ranks; ++peer) {
    const Path path = path_to(peer);
    auto* mapped = path == Path::ipc ? reinterpret_cast<uint8_t*>(windows[peer].base) : nullptr;
    peers_.push_back(
        {path, windows[peer].rkey, windows[peer].base, mapped, windows[peer].flag_rkey});
    handles.push_back(windows[peer].handles);
  }
  open_windows(exchange, handles);
}

void Buffer::open_windows(Exchange& exchange, const std::vector<PeerWindows::Handles>& handles) {
  try {
    collective_step(exchange, [&] {
      for (const uint32_t peer : opened_peers_) {
        peers_[peer].mapped = peer_windows_->open(peer, handles[peer]);
      }
    });
  } catch (const std::exception&) {
    close_peers();
    exchange.all_gather({});  // now all have
    if (peer_windows_) peer_windows_->forget_peers();
    throw;
  }
}

void Buffer::build_table() {
  std::vector<DeviceQp> qps(queue_pairs_.size());
  for (size_t i = 0; i < qps.size(); ++i) {
    if (queue_pairs_[i]) qps[i] = queue_pairs_[i]->device_view();
  }
  std::vector<DeviceFifo> fifos;
  for (const auto& ring : rings_) fifos.push_back(ring->device_view());
  const auto upload = [this]<class T>(KernelArray<T>& array, std::span<const T> values) {
    array = KernelArray<T>(memory_, values.size());
    array.write(values);
  };
  upload(kernel_peers_, std::span<const ChannelPeer>(peers_));
  upload(kernel_qps_, std::span<const DeviceQp>(qps));
  upload(kernel_fifos_, std::span<const DeviceFifo>(fifos));

  const size_t experts = config_.experts();
  const size_t pairs = size_t{config_.experts_per_rank} * config_.ranks;
  counters_ = KernelArray<uint64_t>(memory_, 2 * experts + pairs + 2 * experts + 2 * pairs);
  DeviceState state{};
  state.send_counters = counters_.data();
  state.combine_counters = state.send_counters + 2 * experts;
  state.dispatch_flags_sent = state.combine_counters + pairs;
  state.combine_flags_sent = state.dispatch_flags_sent + 2 * experts;
  state.dispatch_epoch = state.combine_epoch = config_.start_epoch;
  upload(state_, std::span<const DeviceState>(&state, 1));

  table_.layout_stamp = kChannelStamp;
  table_.rank = rank_;
  table_.ranks = config_.ranks;
  table_.queues = config_.experts_per_rank;
  table_.unmapped = queue_pair_count_ / config_.experts_per_rank;
  table_.peers = kernel_peers_.data();
  table_.qps = kernel_qps_.data();
  table_.fifos = kernel_fifos_.data();
  table_.fifo_count = static_cast<uint32_t>(fifos.size());
  table_.window_lkey = region_ ? region_->lkey() : 0;
  table_.window = window_.data();
  table_.atomic_result_offset = layout_.atomic_result_at;
  host_table_ = table_;
  host_table_.peers = peers_.data();
  for (const auto& ring : rings_) {
    proxies_.push_back(
        std::make_unique<FifoProxy>(*ring, FifoProxyConfig{&host_table_, &queue_pairs_}));
  }
}

CommonArgs Buffer::common_args() {
  return {kArgsStamp,         table_,       layout_, config_.dtype, config_.flags, config_.doorbell,
          config_.timeout_ns, state_.data()};
}

FailureRecord Buffer::failure() const {
  FailureRecord record;
  memory_.read(&record, &state_.data()->failure, sizeof(record));
  return record;
}

uint16_t* Buffer::combine_stage(uint32_t local_expert) const {
  uint64_t completed;
  memory_.read(&completed, &state_.data()->combine_epoch, sizeof(completed));
  const uint64_t next = completed + 1;
  return reinterpret_cast<uint16_t*>(window_.data() +
                                     layout_.combine_stage(next & 1, local_expert, 0));
}

void Buffer::abort() {
  const HostPlatform host;
  FailureRecord& record = state_.data()->failure;
  if (!memory_.host_reachable()) {
    FailureRecord aborted = failure();
    if (aborted.code == 0) {
      aborted.code = static_cast<uint32_t>(StatusCode::aborted);
      aborted.claimed = 1;
      aborted.peer = kNoPeer;
      memory_.write(&record, &aborted, sizeof(aborted));
    }
  } else if (host.exchange<Scope::sys, Order::acq_rel>(&record.claimed, 1u) == 0) {
    record.peer = kNoPeer;
    host.store<Scope::sys, Order::release>(  // pairs with the kernels' stop word
        &record.code, static_cast<uint32_t>(StatusCode::aborted));
  }
  for (const auto& qp : queue_pairs_) {
    if (qp) qp->abort();
  }
}

bool Buffer::quiet() {
  for (uint32_t peer = 0; peer < config_.ranks; ++peer) {
    if (path_to(peer) != Path::ibgda) continue;
    for (uint32_t queue = 0; queue < config_.experts_per_rank; ++queue) {
      Status status;
      const auto& qp = queue_pairs_[size_t{queue} * config_.ranks + peer];
      if (qp->outstanding(status) != 0 && status.ok()) return false;
    }
  }
  for (const auto& ring : rings_) {
    const FifoState& s = ring->state();
    const HostPlatform host;
    if (host.load<Scope::sys, Order::acquire>(&s.error.code) != 0) continue;
    if (host.load<Scope::sys, Order::acquire>(&s.done) !=
        host.load<Scope::sys, Order::acquire>(&s.head)) {
      return false;
    }
  }
  return true;
}

FailureRecord Buffer::failure_cause() const {
  FailureRecord cause = failure();
  for (const auto& qp : queue_pairs_) {
    if (!qp || cause.syndrome != static_cast<uint32_t>(mlx5::Syndrome::flushed)) continue;
    const Status first = qp->first_error();
    if (first.ok() || first.qpn != cause.qpn) continue;
    cause.syndrome = first.syndrome;
    cause.wqe_index = first.wqe_index;
  }
  return cause;
}

std::vector<FifoProxy*> Buffer::proxies() const {
  std::vector<FifoProxy*> all;
  for (const auto& proxy : proxies_) all.push_back(proxy.get());
  return all;
}

std::string describe(const FailureRecord& failure) {
  const Status status{static_cast<StatusCode>(failure.code), failure.syndrome, failure.qpn,
                      failure.peer, failure.wqe_index};
  return std::string(to_string(failure.stage)) + ": " + to_string(status);
}

}  // namespace ringer::ep
