// SPDX-License-Identifier: Apache-2.0
// Low-latency dispatch: each token goes to the ranks of its experts, packed there by local expert.
// Send: to this rank's own experts straight into their rows; once to each other mapped rank, which
// expands it; to the rest a message per expert, unsignaled and un-rung, with one flag per expert
// that is signaled and rung. Receive: wait, expand or copy. Either phase may be its own launch.
#pragma once

#include <ringer/ep/kernel_context.hpp>
#include <ringer/ep/message.hpp>

namespace ringer::ep {

/// Scales of a message to a row, by one warp.
template <Warp W>
RINGER_HD void copy_scales(const W& w, const DispatchArgs& a, const Message& message,
                           uint64_t row) {
  const uint32_t bytes = a.common.layout.scale_bytes;
  uint8_t* to = a.recv_scales + row * bytes;
  const uint8_t* from = message.scales();
  if (a.common.dtype == Dtype::fp8) {
    w.strided(bytes / 4,
              [&](uint64_t i) { store_as<uint32_t>(to + i * 4, load_as<uint32_t>(from + i * 4)); });
  } else if (a.common.dtype == Dtype::fp8_ue8m0) {
    w.strided(bytes, [&](uint64_t i) { to[i] = from[i]; });
  }
}

/// Posts one message, staged in the window, to an expert of an unmapped rank and counts it.
template <Platform P, Warp W>
RINGER_HD void post_message(KernelContext<P, W>& ctx, const W& w, const DispatchArgs& a,
                            uint64_t parity, uint64_t token, uint32_t expert, uint32_t position) {
  const Layout& layout = a.common.layout;
  const uint32_t peer = expert / layout.experts_per_rank;
  const uint32_t local_expert = expert % layout.experts_per_rank;
  w.leader([&] {
    const uint64_t from = layout.dispatch_stage(parity, token);
    const uint64_t to = layout.dispatch_slot(parity, local_expert, a.common.channel.rank, position);
    const Status status = ctx.channel().put(local_expert, peer, to, from, layout.message_bytes,
                                            {false, false}, ctx.limit());
    if (!status.ok()) ctx.fail(status, peer);
    // Counted even after a failure, so that the tail never waits for a message that will not come.
    // Releases the post; pairs with the tail's wait: acquire.
    ctx.platform().template fetch_add<Scope::gpu, Order::release>(
        &a.common.state->send_counters[parity * ctx.experts() + expert], pack(1, 0));
  });
}

/// Sends a finished message to where its entry `k` wants it; by one warp.
template <Platform P, Warp W>
RINGER_HD void send_entry(KernelContext<P, W>& ctx, const W& w, const DispatchArgs& a,
                          uint64_t parity, uint32_t token, const Message& message, uint32_t k) {
  const Layout& layout = a.common.layout;
  if (!message.names(k)) return;
  const auto expert = static_cast<uint32_t>(message.expert(k));
  if (expert >= ctx.experts()) {
    ctx.fail(make_status(StatusCode::invalid), kNoPeer);
    return;
  }
  const uint32_t peer = message.rank_of(k);
  const uint32_t rank = a.common.channel.rank;
  if (peer == rank) {  // own rows come first, so the position is the row
    const uint64_t row =
        expert % layout.experts_per_rank * layout.rows_per_expert() + message.position(k);
    w.push(a.recv_x + row * layout.payload_bytes, message.payload(), layout.payload_bytes);
    copy_scales(w, a, message, row);
    w.leader([&] { store_as<SourceInfo>(a.source_info + row, SourceInfo{token, k}); });
  } else if (uint8_t* mapped = ctx.channel().mapped(peer, layout.token_slot(parity, rank, token));
             mapped == nullptr) {
    post_message(ctx, w, a, parity, token, expert, message.position(k));
  } else if (message.first_of_rank(k)) {
    w.push(mapped, message.bytes, layout.message_bytes);
  }
}

/// Header, expert row and positions of a message; by one warp.
template <Platform P, Warp W>
RINGER_HD void write_head(KernelContext<P, W>& ctx, const W& w, const DispatchArgs& a,
                          uint64_t epoch, uint32_t token, uint8_t* message) {
  const Layout& layout = a.common.layout;
  const int32_t* row = a.topk_idx + uint64_t{token} * layout.topk;
  uint64_t* counters = a.common.state->send_counters + (epoch & 1) * ctx.experts();
  w.leader([&] {
    store_as<MessageHeader>(message, MessageHeader{token, layout.topk, low_half(epoch), 0});
  });
  w.strided(layout.topk, [&](uint64_t i) {
    const auto k = static_cast<uint32_t>(i);
    uint32_t position = 0;
    if (row[k] >= 0 && static_cast<uint32_t>(row[k]) < ctx.experts() && first_of(row, k) == k) {
      // Relaxed: hands out a number, nothing else.
      position = low_half(ctx.platform().template fetch_add<Scope::gpu, Order::relaxed>(
          &counters[row[k]], uint64_t{1}));
    }
    uint8_t* entries = message + sizeof(MessageHeader);
    store_as<int32_t>(entries + k * sizeof(int32_t), row[k]);
    store_as<uint32_t>(entries + (layout.topk + k) * sizeof(int32_t), position);
  });
}

/// Makes one token's message, by a group of warps, and sends it, an entry a warp.
template <Platform P, Warp W>
RINGER_HD void send_token(KernelContext<P, W>& ctx, const W& w, const WarpGroup& group,
                          const DispatchArgs& a, uint64_t epoch, uint32_t token) {
  const Layout& layout = a.common.layout;
  const uint64_t parity = epoch & 1;
  const SharedLayout shared(layout, w.warps_per_block());
  auto* bytes = shared_at<uint8_t>(w, shared, shared.message(group.in_block));
  const Message message{bytes, layout};
  // The head's counters take as long as the payload: its warp, if it is not the only one, does no
  // more.
  const uint32_t last = group.share.warps - 1;
  if (group.share.warp == last) write_head(ctx, w, a, epoch, token, bytes);
  if (group.share.warp != last || last == 0) {
    encode_token(w, WarpShare{group.share.warp, last == 0 ? 1 : last},
                 a.x + uint64_t{token} * layout.hidden, layout, a.common.dtype,
                 bytes + layout.payload_offset,
                 bytes + layout.payload_offset + layout.payload_bytes);
  }
  w.push_fence();
  sync_group(w, group);
  if (ctx.any_unmapped()) {  // a NIC may read it
    w.copy(group.share, a.common.channel.window + layout.dispatch_stage(parity, token), bytes,
           layout.message_bytes);
    sync_group(w, group);  // all lanes' stores before one lane posts
  }
  for (uint32_t k = group.share.warp; k < layout.topk; k += group.share.warps) {
    send_entry(ctx, w, a, parity, token, message, k);
  }
  w.push_wait();
  sync_group(w, group);  // before the message is overwritten
}

/// Number of this rank's messages for one expert.
template <Warp W>
RINGER_HD uint32_t count_messages(const W& w, const DispatchArgs& a, uint32_t expert) {
  const uint32_t topk = a.common.layout.topk;
  const uint64_t count = w.sum(a.tokens, [&](uint64_t token) -> uint64_t {
    const int32_t* row = a.topk_idx + token * topk;
    bool named = false;  // looks at all entries, so that no load waits for another
    RINGER_UNROLL_BY(8)
    for (uint32_t k = 0; k < topk; ++k) named |= row[k] == static_cast<int32_t>(expert);
    return named ? 1 : 0;
  });
  return static_cast<uint32_t>(count);
}

/// Waits until all messages for an unmapped rank's expert are posted; sends the flag behind them.
template <Platform P, Warp W>
RINGER_HD void send_tail(KernelContext<P, W>& ctx, const W& w, const DispatchArgs& a,
                         uint64_t epoch, uint32_t expert) {
  const Layout& layout = a.common.layout;
  DeviceState& state = *a.common.state;
  const uint64_t parity = epoch & 1;
  const uint32_t peer = expert / layout.experts_per_rank;
  const uint32_t local_expert = expert % layout.experts_per_rank;
  if (ctx.channel().mapped(peer, 0) != nullptr) return;
  const uint32_t count = count_messages(w, a, expert);
  w.leader([&] {
    const WaitOutcome posted = ctx.platform().template wait_until<Scope::gpu, Order::acquire>(
        &state.send_counters[parity * ctx.experts() + expert],
        [&](uint64_t now) {
          return high_half(now) == count;
        },  // pairs with post_message(): release
        WaitLimit{ctx.limit().expires_ns, nullptr}, "messages of an expert posted");
    if (posted != WaitOutcome::done) {  // no flag may promise what has not been sent
      ctx.fail(make_status(StatusCode::deadline), peer);
      return;
    }
    ctx.send_flag(local_expert, peer,
                  layout.dispatch_flag(parity, local_expert, a.common.channel.rank), epoch, count,
                  &state.dispatch_flags_sent[parity * ctx.experts() + expert]);
  });
}

/// Tells a mapped rank how many messages its expert will get, so that it can lay out its rows.
template <Platform P, Warp W>
RINGER_HD void announce_count(KernelContext<P, W>& ctx, const W& w, const DispatchArgs& a,
                              uint64_t epoch, uint32_t expert) {
  const Layout& layout = a.common.layout;
  const uint64_t offset =
      layout.dispatch_flag(epoch & 1, expert % layout.experts_per_rank, a.common.channel.rank);
  uint8_t* flag = ctx.channel().mapped(expert / layout.experts_per_rank, offset);
  if (flag == nullptr) return;
  const uint32_t count = count_messages(w, a, expert);
  w.leader([&] {
    // Relaxed: says nothing of the messages; those are behind the blocks' done flags.
    ctx.platform().template store<Scope::sys, Order::relaxed>(reinterpret_cast<uint64_t*>(flag),
                                                              pack(epoch, count));
  });
}

template <Platform P, Warp W>
RINGER_HD void dispatch_send(P p, W w, const DispatchArgs& a) {
  KernelContext<P, W> ctx(p, w, a.common, Stage::dispatch_send);
  if (!ctx.accepts(a.tokens)) return;
  const uint64_t epoch = ctx.epoch(&a.common.state->dispatch_epoch);
  const WarpGroup group = make_group(w);
  // From the other end: with fewer tokens than groups, counts and tails fall to warps without any.
  const uint32_t warps = warps_in_grid(w);
  const uint32_t first_expert = warps - 1 - warp_across_blocks(w);
  for (uint32_t e = first_expert; e < ctx.experts(); e += warps) {
    announce_count(ctx, w, a, epoch, e);
  }
  for (uint32_t token = group.index; token < a.tokens; token += group.groups) {
    send_token(ctx, w, group, a, epoch, token);
  }
  ctx.tell_mapped_peers(epoch, a.tokens, [&](uint64_t block) {
    return a.common.layout.dispatch_done(epoch & 1, a.common.channel.rank, block);
  });
  if (!ctx.any_unmapped()) return;
  for (uint32_t e = first_expert; e < ctx.experts(); e += warps) send_tail(ctx, w, a, epoch, e);
}

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
  if (header.epoch != low_half(epoch)) return;  // none of this token's experts is here
  w.strided(layout.topk, [&](uint64_t i) {
    const auto k = static_cast<uint32_t>(i);
    rows[k] = kNowhere;
    if (!message.names(k) || message.rank_of(k) != a.common.channel.rank) return;
    const uint32_t local_expert =
        static_cast<uint32_t>(message.expert(k)) % layout.experts_per_rank;
    const uint64_t range = table.ranges[local_expert];
    if (header.token != token || message.position(k) >= low_half(range)) {
      ctx.fail(make_status(StatusCode::invalid), source);
      return;
    }
    rows[k] = local_expert * layout.rows_per_expert() + high_half(range) + message.position(k);
    if (k % share.warps == share.warp) {
      store_as<SourceInfo>(a.source_info + rows[k], SourceInfo{token, k});
    }
  });
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
    w.leader([&] { *tokens = done.tokens; });
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
  // For the next call; the one before this is over.
  w.strided(grid, ctx.experts(), [&](uint64_t expert) {
    state.send_counters[((epoch + 1) & 1) * ctx.experts() + expert] = 0;
  });
  ctx.take_completions();
  ctx.finish(&state.dispatch_epoch, epoch);
}

/// Both phases in one launch.
template <Platform P, Warp W>
RINGER_HD void dispatch(P p, W w, const DispatchArgs& a) {
  dispatch_send(p, w, a);
  dispatch_receive(p, w, a);
}

}  // namespace ringer::ep
