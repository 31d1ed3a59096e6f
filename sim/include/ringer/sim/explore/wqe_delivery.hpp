// SPDX-License-Identifier: Apache-2.0
// What explored NICs make of doorbells and WQEs whose addresses are those of memory itself.
#pragma once

#include <cstdint>
#include <cstring>

#include <ringer/mlx5/wire.hpp>
#include <ringer/sim/explore/sim_platform.hpp>

namespace ringer::sim {

/// The low 16 bits of the index that a doorbell announces.
inline uint16_t announced(uint64_t bell) {
  return static_cast<uint16_t>(byteswap32(static_cast<uint32_t>(bell)) >> 8);
}

template <class Segment>
Segment segment_at(const uint8_t* slot, uint32_t place) {
  Segment segment;
  std::memcpy(&segment, slot + 16 * place, sizeof(segment));
  return segment;
}

/// Does what a WQE of one data segment says. A write of 8 inline bytes, and an atomic, say that all
/// before it has arrived; the write does not where writes may pass each other (`reorders`). False
/// for what no kernel posts.
inline bool deliver_wqe(const SimPlatform& p, const uint8_t* slot, bool reorders) {
  const auto pointer = [](uint64_t address) {
    return reinterpret_cast<void*>(static_cast<uintptr_t>(address));
  };
  const auto opcode =
      static_cast<mlx5::Opcode>(segment_at<mlx5::CtrlSeg>(slot, 0).opmod_idx_opcode.value() & 0xff);
  if (opcode == mlx5::Opcode::nop) return true;
  void* const remote = pointer(segment_at<mlx5::RaddrSeg>(slot, 1).raddr.value());
  auto* const flag = static_cast<uint64_t*>(remote);
  if (opcode == mlx5::Opcode::atomic_fa) {
    // pairs with the wait for the flag: acquire
    p.fetch_add<Scope::sys, Order::release>(flag,
                                            segment_at<mlx5::AtomicSeg>(slot, 2).swap_add.value());
    return true;
  }
  if (opcode != mlx5::Opcode::rdma_write) return false;
  const auto data = segment_at<mlx5::DataSeg>(slot, 2);
  const uint32_t bytes = data.byte_count.value();
  if ((bytes & mlx5::kInlineFlag) == 0) {
    const void* const local = pointer(data.addr.value());
    p.read_data(local, bytes);
    p.write_data(remote, bytes);
    std::memcpy(remote, local, bytes);
    return true;
  }
  uint64_t value;
  std::memcpy(&value, slot + 36, sizeof(value));
  if (reorders) {
    p.store<Scope::sys, Order::relaxed>(flag, value);
  } else {
    p.store<Scope::sys, Order::release>(flag, value);  // pairs with the wait for the flag: acquire
  }
  return true;
}

}  // namespace ringer::sim
