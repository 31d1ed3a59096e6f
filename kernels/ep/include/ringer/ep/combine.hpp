// SPDX-License-Identifier: Apache-2.0
// Low-latency combine: each expert's rows go back to the ranks they came from, where a token's rows
// are summed by weight in FP32, in the order of its expert row, so that the bits do not depend on
// arrival. Either phase may be its own launch.
#pragma once

#include <ringer/ep/kernel_context.hpp>
#include <ringer/ep/message.hpp>

namespace ringer::ep {

/// Returns one row to the rank that `info` names.
template <Platform P, Warp W>
RINGER_HD void send_row(KernelContext<P, W>& ctx, const W& w, const CombineArgs& a, uint64_t parity,
                        uint32_t local_expert, uint32_t peer, uint64_t row) {
  const Layout& layout = a.common.layout;
  const uint64_t at = local_expert * layout.rows_per_expert() + row;
  const auto info = load_as<SourceInfo>(a.source_info + at);
  const uint64_t staged = layout.combine_stage(parity, local_expert, row);
  const uint64_t to = layout.combine_slot(parity, info.token, info.k);
  const uint8_t* from = a.y == nullptr ? a.common.channel.window + staged
                                       : reinterpret_cast<const uint8_t*>(a.y + at * layout.hidden);
  if (uint8_t* mapped = ctx.channel().mapped(peer, to); mapped != nullptr) {
    w.copy(WarpShare{}, mapped, from, layout.combine_bytes);
    return;
  }
  if (a.y != nullptr) {
    w.copy(WarpShare{}, a.common.channel.window + staged, from, layout.combine_bytes);
  }
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

  const Units units = split_units(w, layout.experts_per_rank * layout.ranks, layout.max_tokens);
  for (uint64_t unit = warp_across_blocks(w); unit < units.count(); unit += warps_in_grid(w)) {
    const auto pair = static_cast<uint32_t>(unit % units.items);
    const auto part = static_cast<uint32_t>(unit / units.items);
    const uint32_t local_expert = pair / layout.ranks;
    const uint32_t peer = pair % layout.ranks;
    const uint64_t range = a.recv_ranges[pair];
    for (uint32_t i = part; i < low_half(range); i += units.parts) {
      send_row(ctx, w, a, parity, local_expert, peer, uint64_t{high_half(range)} + i);
    }
    w.sync();  // every lane's copies before the count
    w.leader([&] {
      uint64_t* sent = &state.combine_counters[pair];
      // Acquire and release: the last part's flag covers the rows of all parts.
      const uint64_t before = p.template fetch_add<Scope::gpu, Order::acq_rel>(sent, uint64_t{1});
      if (before + 1 != units.parts) return;
      p.template store<Scope::gpu, Order::relaxed>(sent, uint64_t{0});
      const uint32_t expert = a.common.channel.rank * layout.experts_per_rank + local_expert;
      ctx.send_flag(local_expert, peer, layout.combine_flag(parity, expert), epoch, low_half(range),
                    &state.combine_flags_sent[parity * units.items + pair]);
    });
  }
}

/// Weighted sum of a share of one token's channels. Multiplication and addition round separately.
template <Warp W>
RINGER_HD void reduce_token(const W& w, WarpShare share, const CombineArgs& a, uint64_t parity,
                            uint64_t token) {
  constexpr uint32_t kRowsInFlight = 8;  // loads of a lane before it adds
  const Layout& layout = a.common.layout;
  const int32_t* row = a.topk_idx + token * layout.topk;
  const float* weights = a.topk_weights + token * layout.topk;
  w.strided(share, layout.hidden / kLaneChannels, [&](uint64_t chunk) {
    float sum[kLaneChannels] = {};
    for (uint32_t first = 0; first < layout.topk; first += kRowsInFlight) {
      LaneChannels held[kRowsInFlight];
      bool present[kRowsInFlight];
      RINGER_UNROLL
      for (uint32_t j = 0; j < kRowsInFlight; ++j) {
        const uint32_t k = first + j;
        present[j] = k < layout.topk && row[k] >= 0;
        if (!present[j]) continue;
        held[j] = load_channels(
            reinterpret_cast<const uint16_t*>(
                a.common.channel.window + layout.combine_slot(parity, token, first_of(row, k))) +
            chunk * kLaneChannels);
      }
      RINGER_UNROLL
      for (uint32_t j = 0; j < kRowsInFlight; ++j) {
        if (!present[j]) continue;
        const float weight = weights[first + j];
        for (uint32_t i = 0; i < kLaneChannels; ++i) {
          const float product = weight * bf16_to_float(held[j].bf16[i]);
          sum[i] = sum[i] + product;
        }
      }
    }
    LaneChannels rounded;
    for (uint32_t i = 0; i < kLaneChannels; ++i) rounded.bf16[i] = float_to_bf16(sum[i]);
    Chunk16 bytes;
    std::memcpy(&bytes, &rounded, sizeof(bytes));
    store_as<Chunk16>(a.out + token * layout.hidden + chunk * kLaneChannels, bytes);
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
  const auto wait_for = [&](uint32_t expert) {
    ctx.wait_flag(layout.combine_flag(epoch & 1, expert), epoch, expert / layout.experts_per_rank,
                  "combine flag");
  };

  const Units units = split_units(w, a.tokens, layout.hidden / kScaleGroup);
  for (uint64_t unit = warp_across_blocks(w); unit < units.count(); unit += warps_in_grid(w)) {
    const uint64_t token = unit % units.items;
    w.strided(layout.topk, [&](uint64_t k) {
      const int32_t expert = a.topk_idx[token * layout.topk + k];
      if (expert >= 0 && static_cast<uint32_t>(expert) < experts) {
        wait_for(static_cast<uint32_t>(expert));
      }
    });
    w.sync();
    reduce_token(w, WarpShare{static_cast<uint32_t>(unit / units.items), units.parts}, a, epoch & 1,
                 token);
  }
  // Also those that no token of ours went to: no rank may get a call ahead of another.
  w.strided(WarpShare{warp_across_blocks(w), warps_in_grid(w)}, experts,
            [&](uint64_t expert) { wait_for(static_cast<uint32_t>(expert)); });
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
