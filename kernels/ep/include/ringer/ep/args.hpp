// SPDX-License-Identifier: Apache-2.0
// What the kernels are given: plain data, copied to the device as it is.
#pragma once

#include <cstddef>
#include <cstdint>

#include <ringer/channel.hpp>
#include <ringer/ep/config.hpp>

namespace ringer::ep {

/// Where a kernel was when something failed.
enum class Stage : uint32_t { dispatch_send, dispatch_receive, combine_send, combine_receive };

const char* to_string(Stage stage);

/// First failure of a rank. `code` is also the stop word of all its waits on peers.
struct FailureRecord {
  uint32_t code;  ///< StatusCode, 0 = none; released last
  uint32_t claimed;
  uint32_t syndrome;
  Qpn qpn;
  uint32_t peer;
  Stage stage;
  uint64_t wqe_index;
};

/// Where a received row came from: its token at the source, and which entry of that token's expert
/// row named this expert first.
struct SourceInfo {
  uint32_t token;
  uint32_t k;
};

/// What this rank returns for one entry of a mapped rank's token: a weighted row of its own. `row`
/// counts through all local experts: local expert * ranks * max_tokens + row.
struct TokenEntry {
  uint32_t row;  ///< kNone: the entry names no expert here
  float weight;

  static constexpr uint32_t kNone = ~0u;
};

/// State of a rank that outlives calls. All of it is left ready for the next call by the kernels
/// themselves: nothing is cleaned from the host, and a recorded launch can be replayed.
struct DeviceState {
  uint64_t dispatch_epoch;  ///< completed calls
  uint64_t combine_epoch;
  /// [2][experts] by parity: messages posted << 32 | positions handed out. Zeroed in the call
  /// between two that use it.
  uint64_t* send_counters;
  /// Per (local expert, unmapped peer): parts of a combine's rows sent. The last part zeroes it.
  uint64_t* combine_counters;
  /// Flag values last sent, by parity and flag, for atomic_add: [2][experts], [2][local][ranks].
  uint64_t* dispatch_flags_sent;
  uint64_t* combine_flags_sent;
  uint32_t blocks_through;  ///< blocks that have ended the call; the last one zeroes it
  FailureRecord failure;
};

/// Shared by all kernels of a rank.
struct CommonArgs {
  uint32_t layout_stamp;
  ChannelTable channel;
  Layout layout;
  Dtype dtype;
  FlagPolicy flags;
  AnyDoorbell doorbell;
  uint64_t timeout_ns;
  DeviceState* state;
};

/// One dispatch call. Rows of a local expert: `[0, recv_count)` of `ranks * max_tokens`. All arrays
/// are 16-byte aligned.
struct DispatchArgs {
  CommonArgs common;
  uint32_t tokens;          ///< of this rank, at most max_tokens
  const uint16_t* x;        ///< [tokens][hidden] BF16
  const int32_t* topk_idx;  ///< [tokens][topk] global experts; -1 = none; duplicates are sent once
  const float* topk_weights;  ///< [tokens][topk], for combine where the experts are
  uint8_t* recv_x;            ///< out: [local][ranks * max_tokens][payload_bytes]
  uint8_t* recv_scales;       ///< out: [local][ranks * max_tokens][scale_bytes]; unused for BF16
  SourceInfo* source_info;    ///< out: [local][ranks * max_tokens]
  uint64_t* recv_ranges;   ///< out: [local][ranks] first row << 32 | rows; packed, this rank's own
                           ///< rows first, then those of the next rank, round to the last
  uint32_t* recv_count;    ///< out: [local]
  TokenEntry* entries;     ///< out: [ranks][max_tokens][topk], of mapped ranks
  uint32_t* entry_tokens;  ///< out: [ranks] tokens that each of them has
};

/// One combine call, with the outputs of its dispatch.
struct CombineArgs {
  CommonArgs common;
  uint32_t tokens;
  const uint16_t* y;          ///< [local][ranks * max_tokens][hidden] BF16; null: zero copy, the
                              ///< rows are already in the window's combine stage
  const int32_t* topk_idx;    ///< [tokens][topk] as dispatched
  const float* topk_weights;  ///< [tokens][topk]
  const SourceInfo* source_info;  ///< of dispatch
  const uint64_t* recv_ranges;    ///< of dispatch
  const TokenEntry* entries;      ///< of dispatch
  const uint32_t* entry_tokens;   ///< of dispatch
  uint16_t* out;                  ///< out: [tokens][hidden] BF16
};

/// Changes with the layout of anything that the kernels are given.
inline constexpr uint32_t kArgsStamp = layout_hash({kChannelStamp,
                                                    sizeof(CommonArgs),
                                                    offsetof(CommonArgs, layout),
                                                    offsetof(CommonArgs, dtype),
                                                    offsetof(CommonArgs, doorbell),
                                                    offsetof(CommonArgs, state),
                                                    sizeof(Layout),
                                                    offsetof(Layout, message_bytes),
                                                    offsetof(Layout, parity_bytes),
                                                    offsetof(Layout, atomic_result_at),
                                                    sizeof(DeviceState),
                                                    offsetof(DeviceState, send_counters),
                                                    offsetof(DeviceState, blocks_through),
                                                    offsetof(DeviceState, failure),
                                                    sizeof(DispatchArgs),
                                                    offsetof(DispatchArgs, topk_idx),
                                                    offsetof(DispatchArgs, recv_count),
                                                    offsetof(DispatchArgs, entries),
                                                    sizeof(CombineArgs),
                                                    offsetof(CombineArgs, topk_weights),
                                                    offsetof(CombineArgs, out)});

}  // namespace ringer::ep
