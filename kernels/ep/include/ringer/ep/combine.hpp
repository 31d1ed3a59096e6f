// SPDX-License-Identifier: Apache-2.0
// Low-latency combine: each expert's rows go back to the ranks they came from, where a token's rows
// are summed by weight in FP32, in the order of its expert row, so that the bits do not depend on
// arrival. Either phase may be its own launch.
#pragma once

#include <ringer/ep/kernel_context.hpp>
#include <ringer/ep/numeric.hpp>

namespace ringer::ep {

/// Returns one row to the rank that `info` names.
template <Platform P, Warp W>
RINGER_HD void send_row(KernelContext<P, W>& ctx, const W& w, const CombineArgs& a, uint64_t parity,
                        uint32_t local_expert, uint32_t peer, uint64_t row) {
  const Layout& layout = a.common.layout;
  const uint64_t at = local_expert * layout.rows_per_expert() + row;
  const SourceInfo info = a.source_info[at];
  const uint64_t staged = layout.combine_stage(parity, local_expert, row);
  const uint64_t to = layout.combine_slot(parity, info.token, info.k);
  const uint8_t* from = a.y == nullptr ? a.common.channel.window + staged
                                       : reinterpret_cast<const uint8_t*>(a.y + at * layout.hidden);
  if (uint8_t* mapped = ctx.channel().mapped(peer, to); mapped != nullptr) {
    copy_warp(w, mapped, from, layout.combine_bytes);
    return;
  }
  if (a.y != nullptr) copy_warp(w, a.common.channel.window + staged, from, layout.combine_bytes);
  w.sync();  // all lanes' stores before one lane posts
  w.leader([&] {
    const Status status = ctx.channel().put(local_expert, peer, to, staged, layout.combine_bytes,
                                            {false, false}, ctx.limit());
    if (!status.ok()) ctx.fail(status, peer);
  });
}

template <Platform P, Warp W>
RINGER_HD void combine_send(P p, W w, const CombineArgs& a) {
  KernelContext<P, W> ctx(p, w, a.common, Stage::combine_send);
  if (!ctx.accepts(a.tokens)) return;
  const Layout& layout = a.common.layout;
  DeviceState& state = *a.common.state;
  const uint64_t epoch = ctx.epoch(&state.combine_epoch);
  const uint64_t parity = epoch & 1;
  const WarpGroup group = make_group(w);

  const uint32_t pairs = layout.experts_per_rank * layout.ranks;
  for (uint32_t pair = group.index; pair < pairs; pair += group.groups) {
    const uint32_t local_expert = pair / layout.ranks;
    const uint32_t peer = pair % layout.ranks;
    const uint64_t range = a.recv_ranges[pair];
    for (uint32_t i = group.warp; i < low_half(range); i += group.warps) {
      send_row(ctx, w, a, parity, local_expert, peer, uint64_t{high_half(range)} + i);
    }
    sync_group(w, group);  // every row posted or copied before the flag
    if (group.warp != 0) continue;
    const uint32_t expert = a.common.channel.rank * layout.experts_per_rank + local_expert;
    w.leader([&] {
      ctx.send_flag(local_expert, peer, layout.combine_flag(parity, expert), epoch, low_half(range),
                    &state.combine_flags_sent[parity * pairs + pair]);
    });
  }
}

/// Weighted sum of one token's rows. Multiplication and addition round separately.
template <Warp W>
RINGER_HD void reduce_token(const W& w, const CombineArgs& a, uint64_t parity, uint64_t token) {
  const Layout& layout = a.common.layout;
  const int32_t* row = a.topk_idx + token * layout.topk;
  const float* weights = a.topk_weights + token * layout.topk;
  constexpr uint32_t kLaneChannels = 8;  // 16 bytes of BF16
  w.strided(layout.hidden / kLaneChannels, [&](uint64_t chunk) {
    float sum[kLaneChannels] = {};
    for (uint32_t k = 0; k < layout.topk; ++k) {
      if (row[k] < 0) continue;
      uint16_t values[kLaneChannels];
      std::memcpy(values,
                  a.common.channel.window + layout.combine_slot(parity, token, first_of(row, k)) +
                      chunk * sizeof(values),
                  sizeof(values));
      for (uint32_t i = 0; i < kLaneChannels; ++i) {
        const float product = weights[k] * bf16_to_float(values[i]);
        sum[i] = sum[i] + product;
      }
    }
    uint16_t rounded[kLaneChannels];
    for (uint32_t i = 0; i < kLaneChannels; ++i) rounded[i] = float_to_bf16(sum[i]);
    std::memcpy(a.out + token * layout.hidden + chunk * kLaneChannels, rounded, sizeof(rounded));
  });
}

template <Platform P, Warp W>
RINGER_HD void combine_receive(P p, W w, const CombineArgs& a) {
  KernelContext<P, W> ctx(p, w, a.common, Stage::combine_receive);
  if (!ctx.accepts(a.tokens)) return;
  const Layout& layout = a.common.layout;
  DeviceState& state = *a.common.state;
  const uint64_t epoch = ctx.epoch(&state.combine_epoch);

  const uint32_t experts = layout.ranks * layout.experts_per_rank;
  for (uint32_t expert = warp_in_grid(w); expert < experts; expert += warps_in_grid(w)) {
    w.leader([&] {
      ctx.wait_flag(layout.combine_flag(epoch & 1, expert), epoch, expert / layout.experts_per_rank,
                    "combine flag");
    });
  }
  w.grid_sync();  // a token's rows come from any expert
  for (uint64_t token = warp_in_grid(w); token < a.tokens; token += warps_in_grid(w)) {
    reduce_token(w, a, epoch & 1, token);
  }
  ctx.take_completions();
  ctx.finish(&state.combine_epoch, epoch);
}

/// Both phases in one launch.
template <Platform P, Warp W>
RINGER_HD void combine(P p, W w, const CombineArgs& a) {
  combine_send(p, w, a);
  combine_receive(p, w, a);
}

}  // namespace ringer::ep
