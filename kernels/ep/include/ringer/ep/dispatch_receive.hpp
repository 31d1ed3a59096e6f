// SPDX-License-Identifier: Apache-2.0
// Dispatch, the receiving half: lay out the rows by the counts of all ranks, wait, expand what
// mapped ranks sent and copy what came through NICs.
#pragma once

#include <ringer/ep/dispatch_send.hpp>

namespace ringer::ep {

/// Rows of a local expert before those of `source`, and those of `source`, as first << 32 | count.
/// Waits for the counts of all ranks from this one on to `source`. One lane.
template <Platform P, Warp W>
RINGER_HD uint64_t rows_from(KernelContext<P, W>& ctx, const DispatchArgs& a, uint64_t epoch,
                             uint32_t local_expert, uint32_t source) {
  const Layout& layout = a.common.layout;
  uint32_t first = 0;
  uint32_t rank = a.common.channel.rank;
  for (;;) {
    const uint32_t count = ctx.wait_flag(layout.dispatch_flag(epoch & 1, local_expert, rank), epoch,
                                         rank, "dispatch count");
    if (rank == source) return pack(first, count);
    first += count;
    rank = rank + 1 == layout.ranks ? 0 : rank + 1;
  }
}

/// What a group knows of one mapped source: where its rows begin for each local expert, as
/// rows_from() says, and how many tokens it has.
struct SourceTable {
  const uint64_t* ranges;
  uint32_t tokens;
};

/// Expands a part of one mapped source's message to the rows of its experts here; by one warp.
template <Platform P, Warp W>
RINGER_HD void expand_message(KernelContext<P, W>& ctx, const W& w, WarpShare share,
                              const DispatchArgs& a, uint64_t epoch, uint32_t source,
                              const SourceTable& table, uint32_t token) {
  constexpr uint64_t kNowhere = ~uint64_t{0};
  const Layout& layout = a.common.layout;
  const SharedLayout shared(layout, w.warps_per_block());
  auto* rows = shared_at<uint64_t>(w, shared, shared.entries(w.warp_in_block()));
  const Message message{a.common.channel.window + layout.token_slot(epoch & 1, source, token),
                        layout};
  const MessageHeader header = message.header();
  const bool sent = header.epoch == low_half(epoch);  // else none of the token's experts is here
  w.strided(layout.topk, [&](uint64_t i) {
    const auto k = static_cast<uint32_t>(i);
    TokenEntry entry{TokenEntry::kNone, 0};
    rows[k] = kNowhere;
    if (sent && message.expert(k) >= 0 && message.rank_of(k) == a.common.channel.rank) {
      const uint32_t first = message.first_of(k);
      const uint64_t range =
          table.ranges[static_cast<uint32_t>(message.expert(k)) % layout.experts_per_rank];
      if (header.token == token && message.position(first) < low_half(range)) {
        const uint64_t row = message.first_row(k) + high_half(range) + message.position(first);
        entry = {static_cast<uint32_t>(row), message.weight(k)};
        if (first == k) rows[k] = row;
      } else {
        ctx.fail(make_status(StatusCode::invalid), source);
      }
    }
    if (k % share.warps != share.warp) return;
    note_entry(a, source, token, k, entry);
    if (rows[k] != kNowhere) store_as<SourceInfo>(a.source_info + rows[k], SourceInfo{token, k});
  });
  if (!sent) return;
  w.sync();
  w.spread(
      share, layout.topk,
      [&](uint32_t k) -> uint8_t* {
        return rows[k] == kNowhere ? nullptr : a.recv_x + rows[k] * layout.payload_bytes;
      },
      message.payload(), layout.payload_bytes);
  for (uint32_t k = share.warp; k < layout.topk; k += share.warps) {
    if (rows[k] != kNowhere) copy_scales(w, a, message, rows[k]);
  }
  w.sync();  // before the rows are overwritten
}

/// All messages of a mapped source, a part of one for each warp of the grid.
template <Platform P, Warp W>
RINGER_HD void receive_mapped(KernelContext<P, W>& ctx, const W& w, const WarpGroup& group,
                              const DispatchArgs& a, uint64_t epoch, uint32_t source) {
  const Layout& layout = a.common.layout;
  const SharedLayout shared(layout, w.warps_per_block());
  auto* ranges = shared_at<uint64_t>(w, shared, shared.table(group.in_block));
  uint64_t* tokens = ranges + layout.experts_per_rank;
  if (group.share.warp == 0) {
    w.strided(layout.experts_per_rank, [&](uint64_t local_expert) {
      ranges[local_expert] = rows_from(ctx, a, epoch, static_cast<uint32_t>(local_expert), source);
    });
    const DoneFlag done = ctx.wait_mapped(epoch, source, "dispatch blocks", [&](uint64_t block) {
      return layout.dispatch_done(epoch & 1, source, block);
    });
    w.leader([&] {
      *tokens = done.tokens;
      if (group.index == 0) a.entry_tokens[source] = done.tokens;
    });
  }
  sync_group(w, group);
  const SourceTable table{ranges, static_cast<uint32_t>(*tokens)};
  const Units units = split_units(w, table.tokens, layout.payload_bytes / kSpreadBytes);
  for (uint64_t unit = warp_across_blocks(w); unit < units.count(); unit += warps_in_grid(w)) {
    const WarpShare share{static_cast<uint32_t>(unit / units.items), units.parts};
    expand_message(ctx, w, share, a, epoch, source, table,
                   static_cast<uint32_t>(unit % units.items));
  }
  sync_group(w, group);  // before the next source's table
}

/// Copies message `i` of an unmapped source to its row and notes where it came from.
template <Platform P, Warp W>
RINGER_HD void receive_message(KernelContext<P, W>& ctx, const W& w, const DispatchArgs& a,
                               uint64_t epoch, uint32_t local_expert, uint32_t source, uint32_t i,
                               uint64_t row) {
  const Layout& layout = a.common.layout;
  const Message message{
      a.common.channel.window + layout.dispatch_slot(epoch & 1, local_expert, source, i), layout};
  const auto expert =
      static_cast<int32_t>(a.common.channel.rank * layout.experts_per_rank + local_expert);
  w.copy(WarpShare{}, a.recv_x + row * layout.payload_bytes, message.payload(),
         layout.payload_bytes);
  copy_scales(w, a, message, row);
  const uint32_t k = w.find(layout.topk, [&](uint32_t j) { return message.expert(j) == expert; });
  w.leader([&] {
    const MessageHeader header = message.header();
    // The flag promised this message: anything else here means payload behind its flag. The row
    // must stay harmless all the same, for a combine may follow in this launch.
    const bool expected = header.epoch == low_half(epoch) && header.topk == layout.topk &&
                          header.token < layout.max_tokens && k < layout.topk;
    if (!expected) ctx.fail(make_status(StatusCode::invalid), source);
    a.source_info[row] = expected ? SourceInfo{header.token, k} : SourceInfo{0, 0};
  });
}

/// The messages of all unmapped sources, a part of a pair's for each warp of the grid.
template <Platform P, Warp W>
RINGER_HD void receive_unmapped(KernelContext<P, W>& ctx, const W& w, const DispatchArgs& a,
                                uint64_t epoch) {
  const Layout& layout = a.common.layout;
  const Units units = split_units(w, layout.experts_per_rank * layout.ranks, layout.max_tokens);
  for (uint64_t unit = warp_across_blocks(w); unit < units.count(); unit += warps_in_grid(w)) {
    const auto pair = static_cast<uint32_t>(unit % units.items);
    const uint32_t local_expert = pair / layout.ranks;
    const uint32_t source = pair % layout.ranks;
    if (ctx.channel().mapped(source, 0) != nullptr) continue;
    const uint64_t range =
        w.broadcast([&] { return rows_from(ctx, a, epoch, local_expert, source); });
    for (auto i = static_cast<uint32_t>(unit / units.items); i < low_half(range);
         i += units.parts) {
      const uint64_t row = local_expert * layout.rows_per_expert() + high_half(range) + i;
      receive_message(ctx, w, a, epoch, local_expert, source, i, row);
    }
  }
}

template <Platform P, Warp W>
RINGER_HD void dispatch_receive(P p, W w, const DispatchArgs& a) {
  KernelContext<P, W> ctx(p, w, a.common, Stage::dispatch_receive);
  if (!ctx.accepts(a.tokens)) return;
  const Layout& layout = a.common.layout;
  DeviceState& state = *a.common.state;
  const uint64_t epoch = ctx.epoch(&state.dispatch_epoch);
  const WarpGroup group = make_group(w);
  const WarpShare grid{warp_across_blocks(w), warps_in_grid(w)};

  for (uint32_t i = 1; i < layout.ranks; ++i) {
    const uint32_t source = (a.common.channel.rank + i) % layout.ranks;
    if (ctx.channel().mapped(source, 0) != nullptr) {
      receive_mapped(ctx, w, group, a, epoch, source);
    }
  }
  if (ctx.any_unmapped()) receive_unmapped(ctx, w, a, epoch);
  const uint32_t last_source = (a.common.channel.rank + layout.ranks - 1) % layout.ranks;
  w.strided(grid, uint64_t{layout.experts_per_rank} * layout.ranks, [&](uint64_t pair) {
    const auto local_expert = static_cast<uint32_t>(pair / layout.ranks);
    const auto source = static_cast<uint32_t>(pair % layout.ranks);
    const uint64_t range = rows_from(ctx, a, epoch, local_expert, source);
    a.recv_ranges[pair] = range;
    if (source == last_source) a.recv_count[local_expert] = high_half(range) + low_half(range);
  });
  if (warp_in_grid(w) == 0) {
    w.leader([&] { a.entry_tokens[a.common.channel.rank] = a.tokens; });
  }
  // For the next call; the one before this is over.
  w.strided(grid, ctx.experts(), [&](uint64_t expert) {
    state.send_counters[((epoch + 1) & 1) * ctx.experts() + expert] = 0;
  });
  ctx.take_completions();
  ctx.finish(&state.dispatch_epoch, epoch);
}

}  // namespace ringer::ep
