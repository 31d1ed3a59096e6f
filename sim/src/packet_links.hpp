// SPDX-License-Identifier: Apache-2.0
// Lossless links between the NICs of this process and of the user's other processes on this host.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include <ringer/sim/packet_capture.hpp>

namespace ringer::sim {

/// One direction between two processes: a ring of packets in memory that both have mapped. One
/// writer, one reader.
struct PacketRing {
  static constexpr uint32_t kBytes = 256u << 10;

  alignas(64) std::atomic<uint64_t> head;      ///< bytes written
  alignas(64) std::atomic<uint64_t> tail;      ///< bytes read
  alignas(64) std::atomic<uint32_t> sleeping;  ///< the reader wants to be woken
  alignas(64) uint8_t data[kBytes];

  /// Room for one packet in one piece, or null.
  uint8_t* reserve(uint32_t bytes);
  /// What was reserved last.
  const uint8_t* reserved() const { return data + head.load(std::memory_order_relaxed) % kBytes; }
  void commit(uint32_t bytes);
  /// The oldest packet, or null.
  const uint8_t* front(uint32_t* bytes);
  void pop();
  bool empty() const;
};

/// Processes are numbered: a process takes the first free number of its user, and keeps it by a
/// socket that it listens on. Nothing lies in a file system, and what a process had is gone with
/// it, however it ends. Guarded by the fabric's gate, except for sleep().
class PacketLinks {
 public:
  static constexpr uint32_t kMaxProcesses = 255;

  /// Errors: BackendError when all numbers are taken.
  PacketLinks();
  ~PacketLinks();
  PacketLinks(const PacketLinks&) = delete;
  PacketLinks& operator=(const PacketLinks&) = delete;

  /// What is sent from now on is written there, too.
  void capture_to(const char* path) { capture_.emplace(path); }

  uint32_t own_number() const { return own_; }

  enum class Room { ready, full, nobody };
  /// Room for one packet to a process, to be followed by commit().
  Room reserve(uint32_t process, uint32_t bytes, uint8_t** packet);
  void commit(uint32_t process, uint32_t bytes);

  /// Hands at most `budget` packets to `take`. True if there was any.
  bool receive(uint32_t budget, const std::function<void(const uint8_t*, uint32_t)>& take);
  /// Lets in whoever has connected, and tells who has gone. Now and then.
  void look_around(const std::function<void(uint32_t)>& gone);

  /// From now on, whoever writes wakes sleep(). Packets may have come before: packets_waiting().
  void ask_to_be_woken();
  bool packets_waiting() const;
  /// Waits until something may have happened, or time is up: false. Needs no gate.
  bool sleep(uint64_t timeout_ns);
  /// Ends a sleep(). From any thread.
  void wake();
  /// Closes what there is without a word to anybody, as a forked child must.
  void abandon();

 private:
  struct Link {
    int socket = -1;
    PacketRing* ring = nullptr;
  };
  static void close(Link& link);
  bool connect(uint32_t process);
  void watch(int fd);

  uint32_t own_ = 0;
  std::optional<PacketCapture> capture_;
  int listener_ = -1;
  int wake_fd_ = -1;
  int poll_fd_ = -1;
  std::unique_ptr<PacketRing> loop_;
  std::vector<Link> outgoing_;  ///< by process
  std::vector<Link> incoming_;
  std::vector<uint64_t> refused_ns_;  ///< by process: when nobody was there last
};

}  // namespace ringer::sim
