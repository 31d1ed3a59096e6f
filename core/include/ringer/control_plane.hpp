// SPDX-License-Identifier: Apache-2.0
// The cold half of the hardware abstraction: what a backend must be able to create. Virtual, on the
// host, and it throws: nothing here is on the way of a put.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <ringer/device_qp.hpp>
#include <ringer/kernel_memory.hpp>
#include <ringer/status.hpp>
#include <ringer/types.hpp>

namespace ringer {

/// A backend could not do what was asked. The text names the verb, the device and the cause.
class BackendError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// What a NIC can hold; a plan is checked against it before anything is created.
struct NicCaps {
  std::string name;
  uint32_t max_queue_pairs = 0;
  uint32_t max_sq_wqebbs = 0;
  bool device_posting = false;  ///< a kernel may write the send queue and ring the doorbell itself
  bool atomics = false;
  bool own_process_only = false;  ///< connects queue pairs of one process only
};

namespace access {
inline constexpr uint32_t local_write = 1;
inline constexpr uint32_t remote_write = 2;
inline constexpr uint32_t remote_read = 4;
inline constexpr uint32_t remote_atomic = 8;
inline constexpr uint32_t all = 15;
/// PCIe may let a NIC's writes to this memory overtake each other (IBV_ACCESS_RELAXED_ORDERING). A
/// write by a key without it comes after all of them.
inline constexpr uint32_t relaxed_order = 16;
}  // namespace access

/// A registered range. Unregistered when destroyed.
class MemoryRegion {
 public:
  virtual ~MemoryRegion() = default;
  virtual uint32_t lkey() const = 0;
  virtual uint32_t rkey() const = 0;
};

struct QueuePairConfig {
  uint32_t sq_wqebbs = 256;  ///< send ring depth, a power of two
  /// Of the send completion queue that comes with it: a wish, DeviceQp says what it has become.
  CqMode cq_mode = CqMode::collapsed;
  uint32_t rq_wqes = 0;      ///< receive ring depth, a power of two, or none
  uint64_t start_index = 0;  ///< first index; only the software NIC takes others than 0
  uint32_t rnr_retries = 7;  ///< visits to a not-ready receiver; 7 = without end
  /// The posters write the doorbell record behind the doorbell (RecordOrder::trailing).
  bool record_may_trail = false;
  /// Where the kernels that post to it run; null: this process's host code posts.
  KernelMemory* kernels = nullptr;
};

/// Where a peer finds a queue pair. Exchanged as plain bytes.
struct QueuePairAddress {
  uint64_t nic;  ///< number of a software NIC
  Qpn qpn;
  uint16_t lid;  ///< InfiniBand
  uint8_t mtu;   ///< of its port, as ibv_mtu; 0: has none
  uint8_t is_ethernet;
  uint8_t gid[16];       ///< RoCE
  uint16_t cm_port = 0;  ///< where its owner waits for librdmacm's requests; 0: it does not
};

/// One request of the host posting path.
struct WorkRequest {
  enum class Kind : uint32_t { put, put_value, add_value };
  Kind kind;
  uint32_t bytes;  ///< of `put`, at most the NIC's largest message
  LocalRef local;  ///< source of `put`, 8-byte result of `add_value`
  RemoteRef remote;
  uint64_t value;
};

struct ReceiveCompletion {
  Status status;
  uint64_t index;  ///< of the receive buffer, counting from 0
  uint32_t bytes;
  uint32_t imm;
};

struct PostOutcome {
  Status status;
  size_t posted;  ///< requests taken, in order; the rest found no credit
};

/// A reliable connection with a send ring, optionally a receive ring, and completion queues of its
/// own: whoever polls for credit must be the only consumer of those completions.
class QueuePair {
 public:
  virtual ~QueuePair() = default;
  virtual QueuePairAddress address() const = 0;
  /// Connects to the queue pair at `remote`, which belongs to rank `peer`.
  virtual void connect(const QueuePairAddress& remote, uint32_t peer) = 0;
  /// The view a kernel posts through; valid while this object lives. Only after connect().
  virtual DeviceQp device_view() const = 0;
  /// Host posting, by one thread: as many as there is credit for, the last one signaled and rung,
  /// and a doorbell where a half ring ends. Never waits. A queue pair is posted to by the host or
  /// by kernels, not by both. Errors: no_credit, invalid (a request above the largest message),
  /// qp_error, aborted.
  virtual PostOutcome post(std::span<const WorkRequest> requests) = 0;
  /// Takes in completions; returns how many posted WQEs are not known complete.
  virtual uint64_t outstanding(Status& status) = 0;
  /// The error that put the queue pair into its error state, as the NIC itself knows it; ok if
  /// there is none. A collapsed completion queue may show only the flush that followed.
  virtual Status first_error() const = 0;
  /// Hands the NIC a receive buffer for SENDs, or a place in line for a WRITE with immediate.
  /// Errors: BackendError when the receive ring is full.
  virtual void post_receive(const LocalRef& buffer, uint32_t bytes) = 0;
  /// Takes one receive completion, if there is one.
  virtual bool poll_receive(ReceiveCompletion& completion) = 0;
  /// Ends every wait on this queue pair with StatusCode::aborted.
  virtual void abort() = 0;
};

class Nic {
 public:
  virtual ~Nic() = default;
  virtual NicCaps caps() const = 0;
  /// `memory` is what the range was allocated from; null: the host's.
  virtual std::unique_ptr<MemoryRegion> register_memory(void* address, size_t bytes,
                                                        uint32_t access,
                                                        KernelMemory* memory = nullptr) = 0;
  virtual std::unique_ptr<QueuePair> create_queue_pair(const QueuePairConfig& config) = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual const char* name() const = 0;
  /// What it has been told and what it has chosen, for people, a line each; nothing is fine.
  virtual std::string describe() const { return {}; }
  /// The NIC that serves `rank`.
  virtual std::unique_ptr<Nic> open_nic(uint32_t rank) = 0;
};

/// How ranks meet during set-up. Every rank makes the same calls in the same order.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual uint32_t rank() const = 0;
  virtual uint32_t ranks() const = 0;
  /// Contributions of all ranks, by rank. Throws BackendError if a rank has gone or time is up.
  virtual std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> mine) = 0;
  /// A peer seems to be gone: from now on who has not come after `timeout_ns` is not waited for.
  virtual void lose_patience(uint64_t /*timeout_ns*/) {}
};

/// all_gather of one plain value a rank.
template <class T>
std::vector<T> all_gather_value(Exchange& exchange, const T& mine) {
  static_assert(std::is_trivially_copyable_v<T>);
  std::vector<T> all(exchange.ranks());
  const auto parts = exchange.all_gather(std::as_bytes(std::span(&mine, 1)));
  for (size_t r = 0; r < all.size(); ++r) {
    if (parts[r].size() != sizeof(T)) throw BackendError("all_gather: ranks disagree on a size");
    std::memcpy(&all[r], parts[r].data(), sizeof(T));
  }
  return all;
}

/// Runs one step of a collective set-up. If it throws on any rank, it throws on all of them, with
/// the first failing rank and its reason: no rank goes on alone.
void collective_step(Exchange& exchange, const std::function<void()>& step);

/// Exchange among threads: of one process, or of several that have an exchange among themselves.
class LocalGroup {
 public:
  static constexpr uint64_t kTimeoutNs = 60'000'000'000;
  explicit LocalGroup(uint32_t ranks, uint64_t timeout_ns = kTimeoutNs);
  /// `ranks` in each of `processes`, which this process takes part in: rank numbers go through the
  /// processes in their order. `processes` is used by one thread at a time, and by this group only
  /// until that is destroyed.
  LocalGroup(uint32_t ranks, Exchange& processes, uint64_t timeout_ns = kTimeoutNs);
  ~LocalGroup();
  LocalGroup(const LocalGroup&) = delete;
  LocalGroup& operator=(const LocalGroup&) = delete;
  /// The exchange of one of this process's ranks, which count from 0. Destroying it before the
  /// others are done ends their waits.
  std::unique_ptr<Exchange> join(uint32_t local_rank);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace ringer
