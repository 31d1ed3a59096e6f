// SPDX-License-Identifier: Apache-2.0
// The device's view of a queue pair: raw pointers and heads, nothing that owns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <type_traits>

#include <ringer/status.hpp>
#include <ringer/types.hpp>

namespace ringer {

/// How completions reach the poller.
enum class CqMode : uint32_t {
  owner_bit,  ///< a ring of CQEs; validity by the owner bit, room by the CQ doorbell record
  collapsed,  ///< one CQE, overwritten by each completion (cqc.cc = 1, overrun ignored)
};

/// First error of a queue. `code` is the stop word of every wait on the queue: 0 while it is well.
/// The other fields are written before `code` is released.
struct QueueError {
  uint32_t code;  ///< StatusCode; 0 = none
  uint32_t claimed;
  uint32_t syndrome;
  uint32_t reserved;
  uint64_t wqe_index;
};

/// Heads of one send queue and its completion queue, each on its own cache line because different
/// warps write them. All are monotonic and "one past".
struct SqState {
  alignas(64) uint64_t resv_head;  ///< WQEBBs handed out to posters
  /// WQEBBs collected by those who rang, without a gap (exclusive: rung, or published to a server).
  /// Top bits, see SendQueue: the ticket is held, something below is un-rung.
  alignas(64) uint64_t ready_head;
  alignas(
      64) uint64_t prod_idx;  ///< WQEBBs announced to the NIC; written by the ticket holder only
  alignas(64) uint64_t cons_idx;  ///< WQEBBs known to be complete: the credit of `reserve`
  alignas(64) uint64_t cq_ci;     ///< CQEs consumed (owner-bit mode)
  uint32_t cq_lock;               ///< 1 while somebody consumes CQEs (owner-bit mode)
  alignas(64) QueueError error;
};

/// Everything a kernel needs to post to one queue pair. Plain data, copied to the device as it is.
/// `layout_stamp` is checked at launch: host and device must agree on this struct and SqState.
struct DeviceQp {
  uint32_t layout_stamp;
  Qpn qpn;
  uint32_t peer;       ///< rank at the other end, for statuses
  uint32_t sq_wqebbs;  ///< power of two
  uint32_t cq_cqes;    ///< power of two; 1 when collapsed, else room for all outstanding CQEs
  CqMode cq_mode;
  void* sq;            ///< sq_wqebbs * 64 bytes
  void* cq;            ///< cq_cqes * 64 bytes
  Be32* dbr;           ///< two elements: receive, send
  Be32* cq_dbr;        ///< two elements: consumer index, arm
  uint64_t* doorbell;  ///< this queue pair's own UAR register
  SqState* state;
  /// sq_wqebbs elements, zero at first. At the first slot of a published range: the index one past
  /// its last.
  uint64_t* range_ends;
};

/// Hash of a list of sizes and offsets: what host and device must agree on.
constexpr uint32_t layout_hash(std::initializer_list<size_t> layout) {
  uint32_t hash = 2166136261u;  // FNV-1a
  for (const size_t value : layout) hash = (hash ^ static_cast<uint32_t>(value)) * 16777619u;
  return hash;
}

/// Changes with any size or offset of DeviceQp and SqState.
inline constexpr uint32_t kDeviceQpStamp = layout_hash({sizeof(DeviceQp),
                                                        offsetof(DeviceQp, qpn),
                                                        offsetof(DeviceQp, peer),
                                                        offsetof(DeviceQp, sq_wqebbs),
                                                        offsetof(DeviceQp, cq_cqes),
                                                        offsetof(DeviceQp, cq_mode),
                                                        offsetof(DeviceQp, sq),
                                                        offsetof(DeviceQp, cq),
                                                        offsetof(DeviceQp, dbr),
                                                        offsetof(DeviceQp, cq_dbr),
                                                        offsetof(DeviceQp, doorbell),
                                                        offsetof(DeviceQp, state),
                                                        offsetof(DeviceQp, range_ends),
                                                        sizeof(SqState),
                                                        offsetof(SqState, resv_head),
                                                        offsetof(SqState, ready_head),
                                                        offsetof(SqState, prod_idx),
                                                        offsetof(SqState, cons_idx),
                                                        offsetof(SqState, cq_ci),
                                                        offsetof(SqState, cq_lock),
                                                        offsetof(SqState, error),
                                                        offsetof(QueueError, claimed),
                                                        offsetof(QueueError, syndrome),
                                                        offsetof(QueueError, wqe_index)});

static_assert(sizeof(DeviceQp) == 80 && sizeof(SqState) == 384);
static_assert(std::is_trivially_copyable_v<DeviceQp> && std::is_standard_layout_v<DeviceQp>);

/// Sets all heads to `start_index` (a fresh queue pair starts at 0; tests start just below a wrap).
inline void reset_heads(SqState& state, uint64_t start_index) {
  state = {};
  state.resv_head = state.ready_head = state.prod_idx = state.cons_idx = start_index;
}

}  // namespace ringer
