// SPDX-License-Identifier: Apache-2.0
// The shape of one expert-parallel group and the layout of each rank's window that follows from it.
#pragma once

#include <cstdint>
#include <string>

#include <ringer/config.hpp>
#include <ringer/device_qp.hpp>
#include <ringer/queue_policy.hpp>

namespace ringer::ep {

enum class Dtype : uint32_t {
  bf16,
  fp8,        ///< E4M3 with one float scale per 128 channels
  fp8_ue8m0,  ///< E4M3 with one power-of-two scale per 128 channels, sent as its exponent byte
};

/// How "all tokens of this expert have been sent" reaches the receiver.
enum class FlagPolicy : uint32_t {
  strict_write,  ///< an inline WRITE behind the data; needs a fabric that keeps write order
  atomic_add,    ///< a fetch-and-add; holds where writes may pass each other but not atomics
};

/// Equal on all ranks.
struct Config {
  uint32_t ranks = 1;
  uint32_t max_tokens = 128;  ///< per rank and call
  uint32_t hidden = 7168;     ///< channels, a multiple of 128
  uint32_t topk = 8;
  uint32_t experts_per_rank = 8;
  Dtype dtype = Dtype::bf16;
  FlagPolicy flags = FlagPolicy::strict_write;
  AnyDoorbell doorbell{};  ///< beside the rung tail of each queue pair
  uint32_t ring_wqebbs = 256;
  CqMode cq_mode = CqMode::collapsed;
  uint32_t fifo_count = 2;
  uint32_t fifo_depth = 1024;
  uint64_t timeout_ns = 10'000'000'000;
  uint64_t start_index =
      0;  ///< first index of all send rings; others than 0 on the software NIC only
  uint64_t start_epoch = 0;  ///< epochs already spent; tests start just below a wrap

  RINGER_HD uint32_t experts() const { return ranks * experts_per_rank; }
};

/// Throws std::invalid_argument with one line that names the value and the rule.
void validate(const Config& config);

inline constexpr uint32_t kMaxTopk = 64;

/// Most blocks of a launch: each tells its peers when it has sent its share.
inline constexpr uint32_t kMaxBlocks = 1024;

/// Starts each dispatched token. The token's expert row follows, then its position among the
/// source's messages for each of these experts and their weights, then payload and scales.
struct alignas(16) MessageHeader {
  uint32_t token;  ///< index at the source
  uint32_t topk;
  uint32_t epoch;  ///< low half; a message of another call is recognised
  uint32_t reserved;
};
static_assert(sizeof(MessageHeader) == 16);

/// Byte offsets into a rank's window, the same on all ranks. Everything exists twice, by the parity
/// of the epoch: a peer that is one call ahead never meets what is still being read.
struct Layout {
  uint32_t ranks;
  uint32_t max_tokens;
  uint32_t experts_per_rank;
  uint32_t topk;
  uint32_t hidden;
  uint32_t payload_bytes;   ///< of one dispatched token
  uint32_t scale_bytes;     ///< of one dispatched token, 0 for BF16
  uint32_t payload_offset;  ///< in a message
  uint32_t message_bytes;   ///< header, expert row, payload, scales; a multiple of 16
  uint32_t combine_bytes;   ///< of one combined token: BF16
  uint64_t parity_bytes;    ///< of one of the two copies
  uint64_t dispatch_done_at, combine_flag_at, combine_done_at, stage_at, token_receive_at,
      receive_at, combine_stage_at, combine_receive_at;
  uint64_t atomic_result_at;
  uint64_t window_bytes;

  /// Outgoing message of a token.
  RINGER_HD uint64_t dispatch_stage(uint64_t parity, uint64_t token) const {
    return parity * parity_bytes + stage_at + token * message_bytes;
  }
  /// Incoming message of a mapped source's token: one, whatever the number of its experts here.
  RINGER_HD uint64_t token_slot(uint64_t parity, uint64_t source, uint64_t token) const {
    return parity * parity_bytes + token_receive_at + (source * max_tokens + token) * message_bytes;
  }
  /// Incoming message number `slot` from an unmapped source for a local expert.
  RINGER_HD uint64_t dispatch_slot(uint64_t parity, uint64_t local_expert, uint64_t source,
                                   uint64_t slot) const {
    return parity * parity_bytes + receive_at +
           ((local_expert * ranks + source) * max_tokens + slot) * message_bytes;
  }
  /// 8-byte flag: epoch << 32 | number of messages from `source` for a local expert. Behind the
  /// messages of an unmapped source; ahead of those of a mapped one, whose blocks say when they are
  /// done.
  RINGER_HD uint64_t dispatch_flag(uint64_t parity, uint64_t local_expert, uint64_t source) const {
    return parity * parity_bytes + (source * experts_per_rank + local_expert) * 8;
  }
  /// 8-byte flag of a mapped source's block behind all it sends: see DoneFlag.
  RINGER_HD uint64_t dispatch_done(uint64_t parity, uint64_t source, uint64_t block) const {
    return parity * parity_bytes + dispatch_done_at + (source * kMaxBlocks + block) * 8;
  }
  RINGER_HD uint64_t combine_done(uint64_t parity, uint64_t source, uint64_t block) const {
    return parity * parity_bytes + combine_done_at + (source * kMaxBlocks + block) * 8;
  }
  /// Outgoing result: row `slot` of a local expert, as dispatch numbered it.
  RINGER_HD uint64_t combine_stage(uint64_t parity, uint64_t local_expert, uint64_t slot) const {
    return parity * parity_bytes + combine_stage_at +
           (local_expert * ranks * max_tokens + slot) * combine_bytes;
  }
  /// Incoming result for entry `k` of a token's expert row.
  RINGER_HD uint64_t combine_slot(uint64_t parity, uint64_t token, uint64_t k) const {
    return parity * parity_bytes + combine_receive_at + (token * topk + k) * combine_bytes;
  }
  /// 8-byte flag: epoch << 32 | number of results from an unmapped rank's `expert`.
  RINGER_HD uint64_t combine_flag(uint64_t parity, uint64_t expert) const {
    return parity * parity_bytes + combine_flag_at + expert * 8;
  }
  RINGER_HD uint64_t rows_per_expert() const { return uint64_t{ranks} * max_tokens; }
};

Layout make_layout(const Config& config);

const char* to_string(Dtype dtype);

}  // namespace ringer::ep
