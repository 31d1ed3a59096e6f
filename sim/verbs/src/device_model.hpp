// SPDX-License-Identifier: Apache-2.0
// What the emulated HCA can do, as its queries tell it. Nothing is claimed that the NIC lacks.
#pragma once

#include <cstdint>

#include <rdma/ib_user_ioctl_verbs.h>
#include <rdma/mlx5-abi.h>

#include <ringer/sim/link_address.hpp>

namespace ringer::sim::verbs {

inline constexpr uint32_t kCompletionVectors = 8;
inline constexpr uint32_t kGidTable = 8;  ///< entries
inline constexpr uint16_t kPkeys = 1;
inline constexpr uint32_t kMaxCqe = (1u << 22) - 1;
inline constexpr uint32_t kMaxSqWqebbs = 32768;
inline constexpr uint32_t kMaxWr = 32768;
inline constexpr uint32_t kMaxSge = 30;
inline constexpr uint32_t kMaxSrqWr = 32767;
inline constexpr uint32_t kMaxSrqSge = 31;
inline constexpr uint32_t kMaxReads = 16;
inline constexpr uint64_t kMaxDeviceMemory = 128 * 1024;  ///< bytes in one piece

/// One HCA of the host.
struct DeviceModel {
  uint32_t number = 0;
  uint32_t ports = 1;
  LinkLayer link = LinkLayer::infiniband;

  bool is_ethernet() const { return link == LinkLayer::ethernet; }
  uint32_t gids() const { return gid_count(link); }  ///< entries in use
  bool has_port(uint32_t port) const { return port >= 1 && port <= ports; }
  /// On Ethernet only the NIC itself knows it.
  uint16_t lid(uint32_t port) const;

  ib_uverbs_query_device_resp device() const;
  ib_uverbs_ex_query_device_resp extended_device() const;
  ib_uverbs_query_port_resp port(uint32_t port) const;
  ib_uverbs_gid_entry gid(uint32_t port, uint32_t index) const;
  /// The lid that an address vector leads to; kNoLid: to nobody. Errors: VerbsError, as the
  /// kernel's address resolution.
  uint16_t lid_at(const ib_uverbs_qp_dest& to) const;
  mlx5_ib_alloc_ucontext_resp user_context() const;
};

}  // namespace ringer::sim::verbs
