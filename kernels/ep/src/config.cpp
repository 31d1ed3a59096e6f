// SPDX-License-Identifier: Apache-2.0
#include <stdexcept>

#include <ringer/ep/config.hpp>
#include <ringer/ep/numeric.hpp>

namespace ringer::ep {

namespace {

constexpr uint64_t kFlagAlignment = 128;

uint64_t align(uint64_t value, uint64_t to) { return (value + to - 1) / to * to; }

void require(bool condition, const std::string& reason) {
  if (!condition) throw std::invalid_argument(reason);
}

bool power_of_two(uint32_t v) { return v != 0 && (v & (v - 1)) == 0; }

}  // namespace

const char* to_string(Dtype dtype) {
  switch (dtype) {
    case Dtype::bf16:
      return "bf16";
    case Dtype::fp8:
      return "fp8";
    case Dtype::fp8_ue8m0:
      return "fp8-ue8m0";
  }
  return "unknown";
}

void validate(const Config& c) {
  const auto text = [](uint64_t v) { return std::to_string(v); };
  require(c.ranks >= 1 && c.ranks <= 4096, "ranks is " + text(c.ranks) + "; it must be 1 to 4096");
  require(c.experts_per_rank >= 1 && c.experts_per_rank <= 4096,
          "experts per rank is " + text(c.experts_per_rank) + "; it must be 1 to 4096");
  require(c.max_tokens >= 1 && c.max_tokens <= (1u << 20),
          "tokens is " + text(c.max_tokens) + "; it must be 1 to 1048576");
  require(c.hidden >= kScaleGroup && c.hidden % kScaleGroup == 0 && c.hidden <= 65536,
          "hidden is " + text(c.hidden) + "; it must be a multiple of 128 up to 65536");
  require(uint64_t{c.experts_per_rank} * c.ranks * c.max_tokens < 0xffffffffu,
          text(c.experts_per_rank) + " experts with up to " +
              text(uint64_t{c.ranks} * c.max_tokens) +
              " rows each are more than 4294967294 rows on a rank");
  require(c.topk >= 1 && c.topk <= kMaxTopk, "topk is " + text(c.topk) + "; it must be 1 to 64");
  require(c.topk <= c.experts(),
          "topk is " + text(c.topk) + " but there are only " + text(c.experts()) + " experts");
  require(power_of_two(c.ring_wqebbs) && c.ring_wqebbs >= 2 && c.ring_wqebbs <= 32768,
          "ring is " + text(c.ring_wqebbs) + " WQEBBs; it must be a power of two from 2 to 32768");
  require(power_of_two(c.fifo_depth) && c.fifo_count >= 1 && c.fifo_count <= 64,
          "fifo depth must be a power of two and the number of fifos 1 to 64");
  require(c.timeout_ns > 0, "timeout must be positive");
  // A flag that was never written reads as tag 0: both buffers must have been used before the tag
  // wraps.
  require(static_cast<uint32_t>(c.start_epoch) < 0xfffffffeu,
          "start epoch is " + text(c.start_epoch) + "; its low half must be below 4294967294");
}

Layout make_layout(const Config& c) {
  validate(c);
  Layout l{};
  l.ranks = c.ranks;
  l.max_tokens = c.max_tokens;
  l.experts_per_rank = c.experts_per_rank;
  l.topk = c.topk;
  l.hidden = c.hidden;
  const uint32_t groups = c.hidden / kScaleGroup;
  l.payload_bytes = c.dtype == Dtype::bf16 ? c.hidden * 2 : c.hidden;
  l.scale_bytes = c.dtype == Dtype::bf16 ? 0 : c.dtype == Dtype::fp8 ? groups * 4 : groups;
  l.payload_offset =
      static_cast<uint32_t>(align(sizeof(MessageHeader) + 3 * c.topk * sizeof(int32_t), 16));
  l.message_bytes =
      static_cast<uint32_t>(align(l.payload_offset + l.payload_bytes + l.scale_bytes, 16));
  l.combine_bytes = c.hidden * 2;

  const uint64_t rows = uint64_t{c.experts_per_rank} * c.ranks * c.max_tokens;
  const uint64_t done_bytes = uint64_t{c.ranks} * kMaxBlocks * 8;
  l.dispatch_done_at = align(uint64_t{c.experts_per_rank} * c.ranks * 8, kFlagAlignment);
  l.combine_flag_at = align(l.dispatch_done_at + done_bytes, kFlagAlignment);
  l.combine_done_at = align(l.combine_flag_at + uint64_t{c.experts()} * 8, kFlagAlignment);
  l.stage_at = align(l.combine_done_at + done_bytes, kFlagAlignment);
  const uint64_t token_bytes = uint64_t{c.max_tokens} * l.message_bytes;
  l.token_receive_at = align(l.stage_at + token_bytes, kFlagAlignment);
  l.receive_at = align(l.token_receive_at + c.ranks * token_bytes, kFlagAlignment);
  l.combine_stage_at = align(l.receive_at + rows * l.message_bytes, kFlagAlignment);
  l.combine_receive_at = align(l.combine_stage_at + rows * l.combine_bytes, kFlagAlignment);
  l.parity_bytes =
      align(l.combine_receive_at + uint64_t{c.max_tokens} * c.topk * l.combine_bytes, 4096);
  l.atomic_result_at = 2 * l.parity_bytes;
  l.window_bytes = l.atomic_result_at + 4096;
  return l;
}

}  // namespace ringer::ep
