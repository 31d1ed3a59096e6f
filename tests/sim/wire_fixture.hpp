// SPDX-License-Identifier: Apache-2.0
// Queue pairs that talk by packets, posted to by hand.
#pragma once

#include <chrono>
#include <cstring>
#include <functional>
#include <optional>
#include <vector>

#include <sys/mman.h>

#include <ringer/control_plane.hpp>
#include <ringer/sim/verbs_host.hpp>

#include "support/catch.hpp"

namespace ringer::test {

/// Calls `drive` until `done`; false if that takes absurdly long.
inline bool drive_until(const std::function<bool()>& done, const std::function<void()>& drive) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) return false;
    drive();
  }
  return true;
}

struct WireOptions {
  sim::Transport transport = sim::Transport::rc;
  uint32_t access = access::all;
  uint32_t mtu_bytes = 256;
  uint8_t retry_count = 1;
  uint8_t rnr_retry = 7;
  uint8_t min_rnr_timer = 1;  // 10 us
  uint8_t timeout = 1;        // 8 us
  uint32_t max_reads = 4;
  uint32_t qkey = 0x11;
  sim::NicReceiveQueue* shared = nullptr;
};

/// One end: a queue pair with its rings, and 16 MiB of registered memory.
class WireEnd {
 public:
  using Wire = mlx5::Wire;
  static constexpr uint32_t kSlots = 64;
  static constexpr uint32_t kReceiveStride = 1024;
  static constexpr uint64_t kMemoryBytes = 16u << 20;

  explicit WireEnd(sim::Nic& nic, const WireOptions& options = {})
      : options_(options), nic_(nic), memory(kMemoryBytes) {
    for (auto* ring : {&send_cqes_, &receive_cqes_}) {
      for (mlx5::Cqe& cqe : *ring) cqe.tail = mlx5::kInvalidCqeTail;
    }
    nic.add_uar(&uar_);
    send_cq_ = nic.create_completion_queue(ring_of(send_cqes_, send_cq_dbr_), 1, nullptr, nullptr);
    receive_cq_ =
        nic.create_completion_queue(ring_of(receive_cqes_, receive_cq_dbr_), 2, nullptr, nullptr);
    key = nic.register_range(
        {reinterpret_cast<uint64_t>(memory.data()), kMemoryBytes, memory.data(), access::all, 1});
    sim::VerbsQueuePairSetup setup;
    setup.transport = options.transport;
    setup.protection_domain = 1;
    setup.sq = sq_.data();
    setup.sq_wqebbs = kSlots;
    setup.receive = {rq_.data(), kSlots, kReceiveStride, &dbr_[0], false};
    setup.shared_receive = options.shared;
    setup.dbr = dbr_;
    setup.send_cq = send_cq_;
    setup.receive_cq = receive_cq_;
    setup.uar = &uar_;
    setup.user_index = 77;
    qpn = nic.create_queue_pair(setup);
  }
  ~WireEnd() {
    nic_.destroy_queue_pair(qpn);
    nic_.deregister_memory(key);
    nic_.destroy_completion_queue(send_cq_);
    nic_.destroy_completion_queue(receive_cq_);
    nic_.remove_uar(&uar_);
  }
  WireEnd(const WireEnd&) = delete;
  WireEnd& operator=(const WireEnd&) = delete;

  void connect(Qpn remote) {
    sim::VerbsQueuePairAttributes a;
    a.access = options_.access;
    a.qkey = options_.qkey;
    a.remote_qpn = remote;
    a.remote_lid = 1;
    a.send_psn = 0xfffffe;  // packet sequence numbers wrap at once
    a.receive_psn = 0xfffffe;
    a.mtu_bytes = options_.mtu_bytes;
    a.retry_count = options_.retry_count;
    a.rnr_retry = options_.rnr_retry;
    a.min_rnr_timer = options_.min_rnr_timer;
    a.timeout = options_.timeout;
    a.max_reads = options_.max_reads;
    for (const auto state :
         {sim::QueuePairState::init, sim::QueuePairState::rtr, sim::QueuePairState::rts}) {
      a.state = state;
      nic_.modify_queue_pair(qpn, a);
    }
  }

  Wire::Head head(uint8_t flags = mlx5::ctrl_flag::cq_update) const { return {posted, qpn, flags}; }
  LocalRef at(uint64_t offset) const { return {address(offset), key}; }
  RemoteRef remote(uint64_t offset) const { return {address(offset), key}; }
  uint64_t address(uint64_t offset) const {
    return reinterpret_cast<uint64_t>(memory.data()) + offset;
  }

  void write(const Wire::Wqe& wqe) {
    std::memcpy(&sq_[(posted % kSlots) * kWqebbBytes], wqe.bytes, kWqebbBytes);
    ++posted;
  }
  /// A SEND that gathers all memory `times` times; blocks of the ring must be contiguous.
  void write_large_send(uint32_t times) {
    uint8_t* at = &sq_[(posted % kSlots) * kWqebbBytes];
    const uint32_t segments = 1 + times;
    Wire::Wqe first;
    mlx5::put_ctrl(first, head(), mlx5::Opcode::send, segments);
    std::memcpy(at, first.bytes, 16);
    const mlx5::DataSeg all = mlx5::make_data(this->at(0), kMemoryBytes);
    for (uint32_t i = 1; i < segments; ++i) std::memcpy(at + size_t{i} * 16, &all, sizeof(all));
    posted += (segments * 16 + kWqebbBytes - 1) / kWqebbBytes;
  }
  void announce() {
    std::atomic_ref(dbr_[1].raw).store(Wire::dbr_value(posted).raw, std::memory_order_release);
  }
  void ring() {
    announce();
    std::atomic_ref(page_[0x800 / 8]).store(1, std::memory_order_release);
  }
  void post(const Wire::Wqe& wqe) {
    write(wqe);
    ring();
  }
  void post_receive(const std::vector<mlx5::DataSeg>& entries) {
    uint8_t* slot = &rq_[(receives % kSlots) * kReceiveStride];
    for (size_t i = 0; i < entries.size(); ++i) {
      std::memcpy(slot + i * sizeof(mlx5::DataSeg), &entries[i], sizeof(mlx5::DataSeg));
    }
    const mlx5::DataSeg end{Be32::of(0), Be32::of(mlx5::kInvalidKey), Be64::of(0)};
    if (entries.size() * 16 < kReceiveStride) std::memcpy(slot + entries.size() * 16, &end, 16);
    ++receives;
    std::atomic_ref(dbr_[0].raw).store(Wire::dbr_value(receives).raw, std::memory_order_release);
  }

  struct Completion {
    mlx5::CqeTail tail;
    mlx5::Cqe cqe;
    uint32_t syndrome() const { return tail.is_error() ? mlx5::syndrome_of(cqe.error_word) : 0; }
  };
  std::optional<Completion> poll_send() { return poll(send_cqes_, send_cq_dbr_, sends_taken_); }
  std::optional<Completion> poll_receive() {
    return poll(receive_cqes_, receive_cq_dbr_, receives_taken_);
  }

 private:
  using Cqes = std::vector<mlx5::Cqe>;
  static sim::CompletionRing ring_of(Cqes& cqes, Be32* dbr) {
    return {reinterpret_cast<uint8_t*>(cqes.data()), kSlots, 64, dbr};
  }
  static std::optional<Completion> poll(Cqes& cqes, Be32* dbr, uint64_t& taken) {
    mlx5::Cqe& cqe = cqes[taken % kSlots];
    const Be32 word{std::atomic_ref(cqe.tail.raw).load(std::memory_order_acquire)};
    const auto tail = mlx5::CqeTail::of(word);
    if (tail.opcode == mlx5::CqeOpcode::invalid || tail.owner != ((taken & kSlots) != 0)) return {};
    Completion completion{tail, cqe};
    ++taken;
    std::atomic_ref(dbr[0].raw).store(Wire::cq_dbr_value(taken).raw, std::memory_order_release);
    return completion;
  }

  WireOptions options_;
  sim::Nic& nic_;
  alignas(4096) uint64_t page_[512] = {};
  sim::UarPage uar_{page_};
  std::vector<uint8_t> sq_ = std::vector<uint8_t>(size_t{kSlots} * kWqebbBytes);
  std::vector<uint8_t> rq_ = std::vector<uint8_t>(size_t{kSlots} * kReceiveStride);
  Cqes send_cqes_ = Cqes(kSlots);
  Cqes receive_cqes_ = Cqes(kSlots);
  Be32 dbr_[2] = {};
  Be32 send_cq_dbr_[2] = {};
  Be32 receive_cq_dbr_[2] = {};
  sim::NicCompletionQueue* send_cq_;
  sim::NicCompletionQueue* receive_cq_;
  uint64_t sends_taken_ = 0;
  uint64_t receives_taken_ = 0;

 public:
  std::vector<uint8_t> memory;
  uint32_t key;
  Qpn qpn;
  uint64_t posted = 0;
  uint64_t receives = 0;
};

/// Two connected ends, in one process or (as far as the NIC can tell) in two.
struct WirePair {
  explicit WirePair(const WireOptions& a = {}, const WireOptions& b = {}, bool two_hosts = true)
      : hosts(two_hosts ? 2 : 1) {
    for (auto& host : hosts) host = std::make_unique<sim::VerbsHost>(1);
    left = std::make_unique<WireEnd>(hosts.front()->nic(0), a);
    right = std::make_unique<WireEnd>(hosts.back()->nic(0), b);
    left->connect(right->qpn);
    right->connect(left->qpn);
  }

  void drive() {
    for (auto& host : hosts) {
      if (host) host->drive();
    }
  }
  WireEnd::Completion next(const std::function<std::optional<WireEnd::Completion>()>& poll) {
    std::optional<WireEnd::Completion> found;
    REQUIRE(drive_until(
        [&] {
          found = poll();
          return found.has_value();
        },
        [&] { drive(); }));
    return *found;
  }
  WireEnd::Completion sent() {
    return next([&] { return left->poll_send(); });
  }
  WireEnd::Completion received() {
    return next([&] { return right->poll_receive(); });
  }

  std::vector<std::unique_ptr<sim::VerbsHost>> hosts;
  std::unique_ptr<WireEnd> left;
  std::unique_ptr<WireEnd> right;
};

}  // namespace ringer::test
