// SPDX-License-Identifier: Apache-2.0
// A reliable connection's address and states, the same for whoever has made the queue pair.
#pragma once

#include <algorithm>
#include <cstdint>

#include <ringer/control_plane.hpp>
#include <ringer/verbs/device.hpp>

namespace ringer::verbs {

inline constexpr uint8_t kHopLimit = 64;
inline constexpr uint8_t kMinRnrTimer = 12;  ///< 0.64 ms, as ibv_qp_attr has it

QueuePairAddress address_of(const Device& device, Qpn qpn);
/// Errors: BackendError if rank `peer`, at `remote`, is on another kind of link.
void require_same_link(const Device& device, const QueuePairAddress& remote, uint32_t peer);
/// The larger packets that both ports take, as ibv_mtu.
uint8_t common_mtu(const Device& device, const QueuePairAddress& remote);

/// READs and atomics under way at once, of a device that takes `limit`.
inline uint8_t read_depth(int limit) { return static_cast<uint8_t>(std::clamp(limit, 1, 16)); }
/// How long and how often the requester tries, as it is set.
void set_retries(const Device& device, uint32_t rnr_retries, ibv_qp_attr& attributes);

/// RST to INIT: peers may write, read and use atomics. Errors: BackendError, as for all of these.
void enter_init(const Device& device, ibv_qp* qp);
/// INIT to RTR and RTS, towards `remote`.
void enter_rts(const Device& device, ibv_qp* qp, const QueuePairAddress& remote,
               uint32_t rnr_retries);

/// Any state to ERR; one that cannot is as good as there.
void enter_error(const Device& device, ibv_qp* qp) noexcept;

}  // namespace ringer::verbs
