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

/// Counts a part of an unmapped pair's rows as sent; the last part sends the flag. One warp.
template <Platform P, Warp W>
RINGER_HD void finish_part(KernelContext<P, W>& ctx, const W& w, const CombineArgs& a,
                           uint64_t epoch, uint32_t pair, uint32_t parts) {
  const Layout& layout = a.common.layout;
  DeviceState& state = *a.common.state;
  const uint32_t local_expert = pair / layout.ranks;
  w.leader([&] {
    uint64_t* sent = &state.combine_counters[pair];
    // Acquire and release: the last part's flag covers the rows of all parts.
    const uint64_t before =
        ctx.platform().template fetch_add<Scope::gpu, Order::acq_rel>(sent, uint64_t{1});
    if (before + 1 != parts) return;
    ctx.platform().template store<Scope::gpu, Order::relaxed>(sent, uint64_t{0});
    const uint32_t pairs = layout.experts_per_rank * layout.ranks;
    ctx.send_flag(local_expert, pair % layout.ranks,
                  layout.combine_flag(
                      epoch & 1, a.common.channel.rank * layout.experts_per_rank + local_expert),
                  epoch, low_half(a.recv_ranges[pair]),
                  &state.combine_flags_sent[(epoch & 1) * pairs + pair]);
  });
}

template <Platform P, Warp W>
RINGER_HD void combine_send(P p, W w, const CombineArgs& a) {
  KernelContext<P, W> ctx(p, w, a.common, Stage::combine_send);
  if (!ctx.accepts(a.tokens)) return;
  const Layout& layout = a.common.layout;
  const uint64_t epoch = ctx.epoch(&a.common.state->combine_epoch);

  const Units units = split_units(w, layout.experts_per_rank * layout.ranks, layout.max_tokens);
  for (uint64_t unit = warp_across_blocks(w); unit < units.count(); unit += warps_in_grid(w)) {
    const auto pair = static_cast<uint32_t>(unit % units.items);
    const uint32_t peer = pair % layout.ranks;
    const uint64_t range = a.recv_ranges[pair];
    for (auto i = static_cast<uint32_t>(unit / units.items); i < low_half(range);
         i += units.parts) {
      send_row(ctx, w, a, epoch & 1, pair / layout.ranks, peer, uint64_t{high_half(range)} + i);
    }
    if (ctx.channel().mapped(peer, 0) == nullptr) finish_part(ctx, w, a, epoch, pair, units.parts);
  }
  ctx.tell_mapped_peers(epoch, 0, [&](uint64_t block) {
    return layout.combine_done(epoch & 1, a.common.channel.rank, block);
  });
}

/// Where the rows of a token lie and what they weigh: entry `k` of its expert row, as a warp keeps
/// it in shared memory.
struct WeightedSlot {
  uint32_t k;  ///< slot, or kMasked
  float weight;

  static constexpr uint32_t kMasked = ~0u;
};
static_assert(sizeof(WeightedSlot) == 8);

/// Weighted sum of a share of one token's channels. Multiplication and addition round separately.
template <Warp W>
RINGER_HD void reduce_token(const W& w, WarpShare share, const CombineArgs& a, uint64_t parity,
                            uint64_t token) {
  constexpr uint32_t kRowsInFlight = 8;  // loads of a lane before it adds
  const Layout& layout = a.common.layout;
  const SharedLayout shared(layout, w.warps_per_block());
  auto* slots = shared_at<WeightedSlot>(w, shared, shared.entries(w.warp_in_block()));
  const int32_t* row = a.topk_idx + token * layout.topk;
  w.strided(layout.topk, [&](uint64_t i) {
    const auto k = static_cast<uint32_t>(i);
    slots[k] = {row[k] < 0 ? WeightedSlot::kMasked : first_of(row, k),
                a.topk_weights[token * layout.topk + k]};
  });
  w.sync();
  const uint8_t* rows = a.common.channel.window + layout.combine_slot(parity, token, 0);
  w.strided(share, layout.hidden / kLaneChannels, [&](uint64_t chunk) {
    float sum[kLaneChannels] = {};
    for (uint32_t first = 0; first < layout.topk; first += kRowsInFlight) {
      Chunk16 held[kRowsInFlight];
      RINGER_UNROLL
      for (uint32_t j = 0; j < kRowsInFlight; ++j) {
        if (first + j >= layout.topk || slots[first + j].k == WeightedSlot::kMasked) continue;
        held[j] = load_as<Chunk16>(rows + uint64_t{slots[first + j].k} * layout.combine_bytes +
                                   chunk * sizeof(Chunk16));
      }
      RINGER_UNROLL
      for (uint32_t j = 0; j < kRowsInFlight; ++j) {
        if (first + j >= layout.topk || slots[first + j].k == WeightedSlot::kMasked) continue;
        for (uint32_t i = 0; i < kLaneChannels; ++i) {
          const float product = slots[first + j].weight * channel_of(held[j], i);
          sum[i] = sum[i] + product;
        }
      }
    }
    store_as<Chunk16>(a.out + token * layout.hidden + chunk * kLaneChannels, round_channels(sum));
  });
  w.sync();  // before the slots are overwritten
}

/// Waits until everything that any rank returns in this call is here. One warp.
template <Platform P, Warp W>
RINGER_HD void wait_for_results(KernelContext<P, W>& ctx, const W& w, const CombineArgs& a,
                                uint64_t epoch) {
  const Layout& layout = a.common.layout;
  for (uint32_t peer = 0; peer < layout.ranks; ++peer) {
    if (ctx.channel().mapped(peer, 0) != nullptr) {
      ctx.wait_mapped(epoch, peer, "combine blocks",
                      [&](uint64_t block) { return layout.combine_done(epoch & 1, peer, block); });
      continue;
    }
    w.strided(layout.experts_per_rank, [&](uint64_t local_expert) {
      ctx.wait_flag(layout.combine_flag(epoch & 1, peer * layout.experts_per_rank + local_expert),
                    epoch, peer, "combine flag");
    });
  }
  w.sync();
}

template <Platform P, Warp W>
RINGER_HD void combine_receive(P p, W w, const CombineArgs& a) {
  KernelContext<P, W> ctx(p, w, a.common, Stage::combine_receive);
  if (!ctx.accepts(a.tokens)) return;
  const Layout& layout = a.common.layout;
  DeviceState& state = *a.common.state;
  const uint64_t epoch = ctx.epoch(&state.combine_epoch);

  // Also for ranks that no token of ours went to: none may get a call ahead of another.
  const WarpGroup group = make_group(w);
  if (group.share.warp == 0) wait_for_results(ctx, w, a, epoch);
  sync_group(w, group);
  const Units units = split_units(w, a.tokens, layout.combine_bytes / kSpreadBytes);
  for (uint64_t unit = warp_across_blocks(w); unit < units.count(); unit += warps_in_grid(w)) {
    const WarpShare share{static_cast<uint32_t>(unit / units.items), units.parts};
    reduce_token(w, share, a, epoch & 1, unit % units.items);
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
