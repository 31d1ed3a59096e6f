// SPDX-License-Identifier: Apache-2.0
// What a kernel sends through. A channel knows, peer by peer, whether memory is mapped (IPC), a
// queue pair can be posted to (IBGDA) or a host proxy must do it (FIFO); kernels never ask which.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <ringer/endpoint.hpp>
#include <ringer/fifo.hpp>

namespace ringer {

enum class Path : uint32_t { ipc, ibgda, fifo };

/// A peer's window as this rank reaches it.
struct ChannelPeer {
  Path path;
  uint32_t rkey;
  uint64_t base;    ///< the window's address at the peer
  uint8_t* mapped;  ///< the window in our address space; null unless the path is IPC
  /// For flags: writes by it come after those by `rkey`, whose order PCIe may relax.
  uint32_t flag_rkey;
};

/// Everything a channel is made of, as plain data for the device. Queue pair (queue, peer) stands
/// at `qps[queue * ranks + peer]`; entries of peers that are not on the IBGDA path are unused.
struct ChannelTable {
  uint32_t layout_stamp;
  uint32_t rank;
  uint32_t ranks;
  uint32_t queues;
  uint32_t unmapped;  ///< peers that are not on the IPC path
  const ChannelPeer* peers;
  const DeviceQp* qps;
  const DeviceFifo* fifos;
  uint32_t fifo_count;
  uint32_t window_lkey;
  uint8_t* window;
  uint64_t atomic_result_offset;  ///< 8 bytes of the own window where fetch-and-adds return
};

/// Changes with the layout of anything that a channel reaches.
inline constexpr uint32_t kChannelStamp = layout_hash({kDeviceQpStamp,
                                                       sizeof(ChannelTable),
                                                       offsetof(ChannelTable, unmapped),
                                                       offsetof(ChannelTable, peers),
                                                       offsetof(ChannelTable, qps),
                                                       offsetof(ChannelTable, fifos),
                                                       offsetof(ChannelTable, window),
                                                       offsetof(ChannelTable, atomic_result_offset),
                                                       sizeof(ChannelPeer),
                                                       offsetof(ChannelPeer, rkey),
                                                       offsetof(ChannelPeer, base),
                                                       offsetof(ChannelPeer, mapped),
                                                       offsetof(ChannelPeer, flag_rkey),
                                                       sizeof(DeviceFifo),
                                                       offsetof(DeviceFifo, depth),
                                                       offsetof(DeviceFifo, state),
                                                       sizeof(FifoCommand),
                                                       sizeof(FifoState),
                                                       offsetof(FifoState, tail),
                                                       offsetof(FifoState, done),
                                                       offsetof(FifoState, error),
                                                       offsetof(FifoState, error_peer)});

/// Which command ring serves (queue, peer). All commands of one queue pair go to one ring, so their
/// order holds; neighbours in either index land on different rings.
RINGER_HD constexpr uint32_t fifo_shard(uint32_t queue, uint32_t peer, uint32_t fifo_count) {
  return (queue + peer) % fifo_count;
}

template <Platform P, class Policy>
class Channel {
 public:
  RINGER_HD Channel(P p, const ChannelTable& table, Policy policy = {})
      : p_(p), t_(table), policy_(policy) {}

  /// The peer's window at `offset` if its memory is mapped, else null. A warp that gets a pointer
  /// copies there itself; `put` is for the rest.
  RINGER_HD uint8_t* mapped(uint32_t peer, uint64_t offset) const {
    uint8_t* base = t_.peers[peer].mapped;
    return base == nullptr ? nullptr : base + offset;
  }

  /// Copies `bytes` from the own window to the peer's, in order with everything else put to the
  /// same (queue, peer). Called by one lane. Errors: deadline, qp_error, aborted.
  RINGER_HD Status put(uint32_t queue, uint32_t peer, uint64_t remote_offset, uint64_t local_offset,
                       uint64_t bytes, PostFlags flags, const WaitLimit& limit) {
    switch (t_.peers[peer].path) {
      case Path::ipc:
        note_read(p_, t_.window + local_offset, bytes);
        note_write(p_, mapped(peer, remote_offset), bytes);
        std::memcpy(mapped(peer, remote_offset), t_.window + local_offset, bytes);
        return {};
      case Path::ibgda:
        return endpoint(queue, peer)
            .put({reinterpret_cast<uint64_t>(t_.window) + local_offset, t_.window_lkey},
                 remote(peer, remote_offset), bytes, flags, limit)
            .status;
      case Path::fifo:
        return push_put(queue, peer, remote_offset, local_offset, bytes, limit);
    }
    return make_status(StatusCode::invalid);
  }

  /// Stores an 8-byte flag behind everything put to (queue, peer) before. Needs strict write order.
  RINGER_HD Status put_flag(uint32_t queue, uint32_t peer, uint64_t remote_offset, uint64_t value,
                            PostFlags flags, const WaitLimit& limit) {
    switch (t_.peers[peer].path) {
      case Path::ipc:
        // Releases the direct copies; pairs with the peer's flag wait: acquire.
        p_.template store<Scope::sys, Order::release>(
            reinterpret_cast<uint64_t*>(mapped(peer, remote_offset)), value);
        return {};
      case Path::ibgda:
        return endpoint(queue, peer)
            .put_inline(value, remote_flag(peer, remote_offset), flags, limit)
            .status;
      case Path::fifo:
        return fifo(queue, peer)
            .push(FifoOp::put_value, queue, peer, remote_offset, value, 8, limit);
    }
    return make_status(StatusCode::invalid);
  }

  /// Adds to an 8-byte flag behind everything put to (queue, peer) before; holds where the fabric
  /// may reorder writes but not atomics.
  RINGER_HD Status add_flag(uint32_t queue, uint32_t peer, uint64_t remote_offset, uint64_t add,
                            PostFlags flags, const WaitLimit& limit) {
    switch (t_.peers[peer].path) {
      case Path::ipc:
        p_.template fetch_add<Scope::sys, Order::release>(
            reinterpret_cast<uint64_t*>(mapped(peer, remote_offset)), add);
        return {};
      case Path::ibgda:
        return endpoint(queue, peer)
            .fetch_add(
                add,
                {reinterpret_cast<uint64_t>(t_.window) + t_.atomic_result_offset, t_.window_lkey},
                remote_flag(peer, remote_offset), flags, limit)
            .status;
      case Path::fifo:
        return fifo(queue, peer).push(FifoOp::add_value, queue, peer, remote_offset, add, 8, limit);
    }
    return make_status(StatusCode::invalid);
  }

  /// Waits until everything put to (queue, peer) has completed.
  RINGER_HD Status flush(uint32_t queue, uint32_t peer, const WaitLimit& limit) {
    switch (t_.peers[peer].path) {
      case Path::ipc:
        p_.template fence<Scope::sys, Order::release>();
        return {};
      case Path::ibgda:
        return endpoint(queue, peer).flush(limit);
      case Path::fifo:
        return fifo(queue, peer).flush(limit);
    }
    return make_status(StatusCode::invalid);
  }

  /// The error that explains why (queue, peer) has gone quiet, or ok. Takes in completions on the
  /// way.
  RINGER_HD Status check(uint32_t queue, uint32_t peer) {
    switch (t_.peers[peer].path) {
      case Path::ibgda:
        return endpoint(queue, peer).queue().completions().poll();
      case Path::fifo:
        return fifo(queue, peer).error_status();
      case Path::ipc:
        break;
    }
    return {};
  }

  RINGER_HD const ChannelTable& table() const { return t_; }

 private:
  RINGER_HD Endpoint<P, Policy> endpoint(uint32_t queue, uint32_t peer) const {
    RINGER_ASSERT(queue < t_.queues && peer < t_.ranks);
    return {p_, t_.qps[uint64_t{queue} * t_.ranks + peer], policy_};
  }
  // A command is one WQE, so it carries no more than the NIC's largest message.
  RINGER_HD Status push_put(uint32_t queue, uint32_t peer, uint64_t remote_offset,
                            uint64_t local_offset, uint64_t bytes, const WaitLimit& limit) {
    constexpr uint64_t kMax = mlx5::Wire::kMaxMessageBytes;
    uint64_t done = 0;
    do {
      const uint64_t chunk = bytes - done < kMax ? bytes - done : kMax;
      const Status status = fifo(queue, peer)
                                .push(FifoOp::put, queue, peer, remote_offset + done,
                                      local_offset + done, static_cast<uint32_t>(chunk), limit);
      if (!status.ok()) return status;
      done += chunk;
    } while (done < bytes);
    return {};
  }
  RINGER_HD Fifo<P> fifo(uint32_t queue, uint32_t peer) const {
    return {p_, t_.fifos[fifo_shard(queue, peer, t_.fifo_count)]};
  }
  RINGER_HD RemoteRef remote(uint32_t peer, uint64_t offset) const {
    return {t_.peers[peer].base + offset, t_.peers[peer].rkey};
  }
  RINGER_HD RemoteRef remote_flag(uint32_t peer, uint64_t offset) const {
    return {t_.peers[peer].base + offset, t_.peers[peer].flag_rkey};
  }

  P p_;
  const ChannelTable& t_;
  Policy policy_;
};

}  // namespace ringer
