// SPDX-License-Identifier: Apache-2.0
// The state machine of queue pairs (InfiniBand Architecture, 10.3.1): which transitions there are
// and which attributes each must and may set.
#pragma once

#include <cstdint>

#include <ringer/sim/verbs_nic.hpp>

namespace ringer::sim::verbs {

/// Bits of an attribute mask, as ibv_qp_attr_mask.
namespace qp_attr {
inline constexpr uint32_t state = 1u << 0;
inline constexpr uint32_t current_state = 1u << 1;
inline constexpr uint32_t sqd_notify = 1u << 2;
inline constexpr uint32_t access_flags = 1u << 3;
inline constexpr uint32_t pkey_index = 1u << 4;
inline constexpr uint32_t port = 1u << 5;
inline constexpr uint32_t qkey = 1u << 6;
inline constexpr uint32_t address_vector = 1u << 7;
inline constexpr uint32_t path_mtu = 1u << 8;
inline constexpr uint32_t timeout = 1u << 9;
inline constexpr uint32_t retry_count = 1u << 10;
inline constexpr uint32_t rnr_retry = 1u << 11;
inline constexpr uint32_t receive_psn = 1u << 12;
inline constexpr uint32_t max_reads = 1u << 13;
inline constexpr uint32_t alternate_path = 1u << 14;
inline constexpr uint32_t min_rnr_timer = 1u << 15;
inline constexpr uint32_t send_psn = 1u << 16;
inline constexpr uint32_t max_remote_reads = 1u << 17;
inline constexpr uint32_t migration_state = 1u << 18;
inline constexpr uint32_t remote_qpn = 1u << 20;
}  // namespace qp_attr

bool transition_allowed(Transport transport, QueuePairState from, QueuePairState to, uint32_t mask);

}  // namespace ringer::sim::verbs
