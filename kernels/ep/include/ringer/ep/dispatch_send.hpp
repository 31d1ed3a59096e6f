// SPDX-License-Identifier: Apache-2.0
// Dispatch, the sending half: to this rank's own experts straight into their rows; once to each
// other mapped rank, which expands it; to the rest a message per expert, unsignaled and un-rung,
// with one flag per expert that is signaled and rung.
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
    const uint64_t row = message.first_row(k) + message.position(k);
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

/// Notes what this rank will return for entry `k` of a mapped rank's token.
RINGER_HD inline void note_entry(const DispatchArgs& a, uint32_t source, uint32_t token, uint32_t k,
                                 const TokenEntry& entry) {
  const Layout& layout = a.common.layout;
  const uint64_t at = (uint64_t{source} * layout.max_tokens + token) * layout.topk + k;
  store_as<TokenEntry>(a.entries + at, entry);
}

/// Notes all entries of an own token; by one warp.
template <Warp W>
RINGER_HD void note_own_entries(const W& w, const DispatchArgs& a, uint32_t token,
                                const Message& message) {
  const uint32_t rank = a.common.channel.rank;
  w.strided(a.common.layout.topk, [&](uint64_t i) {
    const auto k = static_cast<uint32_t>(i);
    TokenEntry entry{TokenEntry::kNone, 0};
    if (message.expert(k) >= 0 && message.rank_of(k) == rank) {
      const uint64_t row = message.first_row(k) + message.position(message.first_of(k));
      entry = {static_cast<uint32_t>(row), message.weight(k)};
    }
    note_entry(a, rank, token, k, entry);
  });
}

/// Header, expert row, positions and weights of a message; by one warp.
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
    store_as<float>(entries + (2 * layout.topk + k) * sizeof(float),
                    a.topk_weights[uint64_t{token} * layout.topk + k]);
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
  if (group.share.warp == last) note_own_entries(w, a, token, message);
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

}  // namespace ringer::ep
