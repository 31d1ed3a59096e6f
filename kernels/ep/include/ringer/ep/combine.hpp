// SPDX-License-Identifier: Apache-2.0
// Low-latency combine: each expert's rows go back to the ranks they came from, where a token's rows
// are summed by weight in FP32: first the rows of each rank, in the order of its expert row, then
// the ranks' sums, in the order of their first entries. So the bits depend neither on arrival nor
// on where a rank's rows are summed: a mapped rank with several rows of a token returns their sum.
// Either phase may be its own launch.
#pragma once

#include <ringer/ep/kernel_context.hpp>
#include <ringer/ep/message.hpp>

namespace ringer::ep {

/// Row `row`, counted through all local experts, of what the experts made.
RINGER_HD inline const uint8_t* result_row(const CombineArgs& a, uint64_t parity, uint64_t row) {
  const Layout& layout = a.common.layout;
  if (a.y != nullptr) return reinterpret_cast<const uint8_t*>(a.y + row * layout.hidden);
  return a.common.channel.window + layout.combine_stage(parity, 0, row);
}

/// Posts one row of an unmapped pair. One warp.
template <Platform P, Warp W>
RINGER_HD void send_row(KernelContext<P, W>& ctx, const W& w, const CombineArgs& a, uint64_t parity,
                        uint32_t local_expert, uint32_t peer, uint64_t row) {
  const Layout& layout = a.common.layout;
  const uint64_t at = local_expert * layout.rows_per_expert() + row;
  const auto info = load_as<SourceInfo>(a.source_info + at);
  const uint64_t staged = layout.combine_stage(parity, 0, at);
  if (a.y != nullptr) {
    w.copy(WarpShare{}, a.common.channel.window + staged, result_row(a, parity, at),
           layout.combine_bytes);
  }
  w.sync();  // all lanes' stores before one lane posts
  w.leader([&] {
    const Status status =
        ctx.channel().put(local_expert, peer, layout.combine_slot(parity, info.token, info.k),
                          staged, layout.combine_bytes, {false, false}, ctx.limit());
    if (!status.ok()) ctx.fail(status, peer);
  });
}

/// Where a rank's FP32 sum lies from `channel` on: its first half in the slot of the rank's first
/// entry, its second half in that of the second, as two rows of BF16 take as much.
RINGER_HD inline uint64_t sum_at(const Layout& layout, uint64_t parity, uint64_t token,
                                 uint32_t first, uint32_t second, uint64_t channel) {
  const uint64_t half = layout.hidden / 2;
  const bool in_first = channel < half;
  return layout.combine_slot(parity, token, in_first ? first : second) +
         (in_first ? channel : channel - half) * sizeof(float);
}

/// Eight FP32 channels of a rank's sum.
struct LaneSum {
  Chunk16 halves[2];

  RINGER_HD float at(uint32_t i) const { return float_of(halves[i / 4].words[i % 4]); }
  RINGER_HD void set(uint32_t i, float value) { halves[i / 4].words[i % 4] = bits_of(value); }
};

/// Weighted sum of eight channels of a token's rows here. One lane.
RINGER_HD inline LaneSum sum_rows(const CombineArgs& a, uint64_t parity, const TokenEntry* terms,
                                  uint64_t chunk) {
  constexpr uint32_t kRowsInFlight = 8;  // loads before the first addition
  const uint32_t topk = a.common.layout.topk;
  float sum[kLaneChannels] = {};
  for (uint32_t k0 = 0; k0 < topk; k0 += kRowsInFlight) {
    Chunk16 held[kRowsInFlight];
    RINGER_UNROLL
    for (uint32_t j = 0; j < kRowsInFlight; ++j) {
      if (k0 + j >= topk || terms[k0 + j].row == TokenEntry::kNone) continue;
      held[j] =
          load_as<Chunk16>(result_row(a, parity, terms[k0 + j].row) + chunk * sizeof(Chunk16));
    }
    RINGER_UNROLL
    for (uint32_t j = 0; j < kRowsInFlight; ++j) {
      if (k0 + j >= topk || terms[k0 + j].row == TokenEntry::kNone) continue;
      for (uint32_t i = 0; i < kLaneChannels; ++i) {
        const float product = terms[k0 + j].weight * channel_of(held[j], i);
        sum[i] = sum[i] + product;
      }
    }
  }
  LaneSum lane_sum;
  for (uint32_t i = 0; i < kLaneChannels; ++i) lane_sum.set(i, sum[i]);
  return lane_sum;
}

/// Returns a share of what a mapped rank's token gets from here: its only row, or the weighted sum
/// of its rows. One warp.
template <Platform P, Warp W>
RINGER_HD void return_token(KernelContext<P, W>& ctx, const W& w, WarpShare share,
                            const CombineArgs& a, uint64_t parity, uint32_t source,
                            uint32_t token) {
  const Layout& layout = a.common.layout;
  const SharedLayout shared(layout, w.warps_per_block());
  auto* terms = shared_at<TokenEntry>(w, shared, shared.entries(w.warp_in_block()));
  const TokenEntry* entries =
      a.entries + (uint64_t{source} * layout.max_tokens + token) * layout.topk;
  w.strided(layout.topk, [&](uint64_t k) { terms[k] = load_as<TokenEntry>(entries + k); });
  w.sync();
  const auto here = [&](uint32_t k) { return terms[k].row != TokenEntry::kNone; };
  const uint32_t first = w.find(layout.topk, here);
  const uint32_t second = w.find(layout.topk, [&](uint32_t k) { return k > first && here(k); });
  uint8_t* window = ctx.channel().mapped(source, 0);
  if (second < layout.topk) {
    w.strided(share, layout.hidden / kLaneChannels, [&](uint64_t chunk) {
      const LaneSum sum = sum_rows(a, parity, terms, chunk);
      uint8_t* to = window + sum_at(layout, parity, token, first, second, chunk * kLaneChannels);
      store_as<Chunk16>(to, sum.halves[0]);
      store_as<Chunk16>(to + sizeof(Chunk16), sum.halves[1]);
    });
  } else if (first < layout.topk) {
    w.copy(share, window + layout.combine_slot(parity, token, first),
           result_row(a, parity, terms[first].row), layout.combine_bytes);
  }
  w.sync();  // before the terms are overwritten
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

/// The rows of all unmapped pairs, a part of a pair's for each warp of the grid.
template <Platform P, Warp W>
RINGER_HD void send_rows(KernelContext<P, W>& ctx, const W& w, const CombineArgs& a,
                         uint64_t epoch) {
  const Layout& layout = a.common.layout;
  const Units units = split_units(w, layout.experts_per_rank * layout.ranks, layout.max_tokens);
  for (uint64_t unit = warp_across_blocks(w); unit < units.count(); unit += warps_in_grid(w)) {
    const auto pair = static_cast<uint32_t>(unit % units.items);
    const uint32_t peer = pair % layout.ranks;
    if (ctx.channel().mapped(peer, 0) != nullptr) continue;
    const uint64_t range = a.recv_ranges[pair];
    for (auto i = static_cast<uint32_t>(unit / units.items); i < low_half(range);
         i += units.parts) {
      send_row(ctx, w, a, epoch & 1, pair / layout.ranks, peer, uint64_t{high_half(range)} + i);
    }
    finish_part(ctx, w, a, epoch, pair, units.parts);
  }
}

template <Platform P, Warp W>
RINGER_HD void combine_send(P p, W w, const CombineArgs& a) {
  KernelContext<P, W> ctx(p, w, a.common, Stage::combine_send);
  if (!ctx.accepts(a.tokens)) return;
  const Layout& layout = a.common.layout;
  const uint64_t epoch = ctx.epoch(&a.common.state->combine_epoch);

  // Others first: their stores are on the way while this rank's own are made.
  for (uint32_t i = 1; i <= layout.ranks; ++i) {
    const uint32_t source = (a.common.channel.rank + i) % layout.ranks;
    if (ctx.channel().mapped(source, 0) == nullptr) continue;
    const Units units = split_units(w, a.entry_tokens[source], layout.combine_bytes / kSpreadBytes);
    for (uint64_t unit = warp_across_blocks(w); unit < units.count(); unit += warps_in_grid(w)) {
      const WarpShare share{static_cast<uint32_t>(unit / units.items), units.parts};
      return_token(ctx, w, share, a, epoch & 1, source, static_cast<uint32_t>(unit % units.items));
    }
  }
  if (ctx.any_unmapped()) send_rows(ctx, w, a, epoch);
  ctx.tell_mapped_peers(epoch, 0, [&](uint64_t block) {
    return layout.combine_done(epoch & 1, a.common.channel.rank, block);
  });
}

/// One thing to add to a token: a row with its weight, or a rank's sum. A warp keeps them in shared
/// memory in the order of addition.
struct Term {
  uint8_t slot;    ///< of the row, or of a sum's first half
  uint8_t second;  ///< slot of a sum's second half
  bool is_sum;
  bool starts_rank;
  float weight;
};
static_assert(sizeof(Term) == 8);

/// The ranks of a token's entries, as a warp keeps them in shared memory.
struct EntryRanks {
  uint32_t* ranks;
  uint32_t topk;

  static constexpr uint32_t kNone = ~0u;         // the entry names no expert
  static constexpr uint32_t kMapped = 1u << 31;  // else the rank's rows come one by one

  /// The first two entries of the same rank as entry `k`; topk where there is none.
  struct Pair {
    uint32_t first, second;
  };
  RINGER_HD Pair same_rank(uint32_t k) const {
    Pair pair{topk, topk};
    for (uint32_t j = topk; j > 0; --j) {
      if (ranks[j - 1] == ranks[k]) pair = {j - 1, pair.first};
    }
    return pair;
  }
  /// Whether the rank returns one sum for all its entries.
  RINGER_HD bool summed(uint32_t k, const Pair& pair) const {
    return (ranks[k] & kMapped) != 0 && pair.second < topk;
  }
};

/// Lists what is to be added to a token; returns how many. `words`: two for each entry. One warp.
template <Platform P, Warp W>
RINGER_HD uint32_t list_terms(KernelContext<P, W>& ctx, const W& w, const CombineArgs& a,
                              uint64_t token, Term* terms, uint32_t* words) {
  constexpr uint32_t kDropped = ~0u;
  const Layout& layout = a.common.layout;
  const int32_t* row = a.topk_idx + token * layout.topk;
  const EntryRanks entries{words, layout.topk};
  uint32_t* keys = words + kMaxTopk;
  w.strided(layout.topk, [&](uint64_t k) {
    const auto expert = static_cast<uint32_t>(row[k]);  // a mask is beyond all experts
    const uint32_t rank = expert / layout.experts_per_rank;
    entries.ranks[k] = expert >= ctx.experts()                    ? EntryRanks::kNone
                       : ctx.channel().mapped(rank, 0) != nullptr ? rank | EntryRanks::kMapped
                                                                  : rank;
  });
  w.sync();
  // Sorted by the first entry of their rank; of a sum's entries only that one stays.
  w.strided(layout.topk, [&](uint64_t i) {
    const auto k = static_cast<uint32_t>(i);
    const EntryRanks::Pair pair = entries.same_rank(k);
    const bool stays =
        entries.ranks[k] != EntryRanks::kNone && (pair.first == k || !entries.summed(k, pair));
    keys[k] = stays ? pair.first * kMaxTopk + k : kDropped;
  });
  w.sync();
  w.strided(layout.topk, [&](uint64_t i) {
    const auto k = static_cast<uint32_t>(i);
    if (keys[k] == kDropped) return;
    uint32_t place = 0;
    for (uint32_t j = 0; j < layout.topk; ++j) place += keys[j] < keys[k] ? 1 : 0;
    const EntryRanks::Pair pair = entries.same_rank(k);
    const bool is_sum = entries.summed(k, pair);
    terms[place] = {static_cast<uint8_t>(is_sum ? k : first_of(row, k)),
                    static_cast<uint8_t>(pair.second), is_sum, pair.first == k,
                    a.topk_weights[token * layout.topk + k]};
  });
  const auto count = static_cast<uint32_t>(
      w.sum(layout.topk, [&](uint64_t k) -> uint64_t { return keys[k] == kDropped ? 0 : 1; }));
  w.sync();
  return count;
}

/// Sums a share of one token's channels: `count` terms, as listed. Multiplication and addition
/// round separately. One warp.
template <Warp W>
RINGER_HD void reduce_token(const W& w, WarpShare share, const CombineArgs& a, uint64_t parity,
                            uint64_t token, const Term* terms, uint32_t count) {
  constexpr uint32_t kTermsInFlight = 4;  // loads of a lane before it adds
  const Layout& layout = a.common.layout;
  const uint8_t* window = a.common.channel.window;
  w.strided(share, layout.hidden / kLaneChannels, [&](uint64_t chunk) {
    const uint64_t channel = chunk * kLaneChannels;
    float total[kLaneChannels] = {};
    float of_rank[kLaneChannels] = {};
    for (uint32_t t0 = 0; t0 < count; t0 += kTermsInFlight) {
      LaneSum held[kTermsInFlight];
      RINGER_UNROLL
      for (uint32_t j = 0; j < kTermsInFlight; ++j) {
        if (t0 + j >= count) continue;
        const Term term = terms[t0 + j];
        const uint8_t* from =
            window + (term.is_sum ? sum_at(layout, parity, token, term.slot, term.second, channel)
                                  : layout.combine_slot(parity, token, term.slot) + channel * 2);
        held[j].halves[0] = load_as<Chunk16>(from);
        if (term.is_sum) held[j].halves[1] = load_as<Chunk16>(from + sizeof(Chunk16));
      }
      RINGER_UNROLL
      for (uint32_t j = 0; j < kTermsInFlight; ++j) {
        if (t0 + j >= count) continue;
        const Term term = terms[t0 + j];
        for (uint32_t i = 0; i < kLaneChannels; ++i) {
          if (term.starts_rank) {
            total[i] = total[i] + of_rank[i];
            of_rank[i] = 0;
          }
          const float product = term.weight * channel_of(held[j].halves[0], i);
          of_rank[i] = of_rank[i] + (term.is_sum ? held[j].at(i) : product);
        }
      }
    }
    for (uint32_t i = 0; i < kLaneChannels; ++i) total[i] = total[i] + of_rank[i];
    store_as<Chunk16>(a.out + token * layout.hidden + channel, round_channels(total));
  });
  w.sync();  // before the terms are overwritten
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

  const SharedLayout shared(layout, w.warps_per_block());
  auto* terms = shared_at<Term>(w, shared, shared.entries(w.warp_in_block()));
  auto* words = shared_at<uint32_t>(w, shared, shared.entry_keys(w.warp_in_block()));
  const Units units = split_units(w, a.tokens, layout.combine_bytes / kSpreadBytes);
  const auto list = [&](uint64_t unit) {
    return unit < units.count() ? list_terms(ctx, w, a, unit % units.items, terms, words) : 0;
  };
  uint64_t unit = warp_across_blocks(w);
  uint32_t count = list(unit);  // needs no results: before the wait
  // Also for ranks that no token of ours went to: none may get a call ahead of another.
  const WarpGroup group = make_group(w);
  if (group.share.warp == 0) wait_for_results(ctx, w, a, epoch);
  sync_group(w, group);
  while (unit < units.count()) {
    const WarpShare share{static_cast<uint32_t>(unit / units.items), units.parts};
    reduce_token(w, share, a, epoch & 1, unit % units.items, terms, count);
    unit += warps_in_grid(w);
    count = list(unit);
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
