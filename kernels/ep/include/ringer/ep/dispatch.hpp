// SPDX-License-Identifier: Apache-2.0
// Low-latency dispatch: each token goes to the ranks of its experts, packed there by local expert.
// Send: messages unsignaled and un-rung, then per expert one flag that is signaled and rung.
// Receive: per (local expert, source) the flag, then the rows. Either phase may be its own launch.
#pragma once

#include <ringer/ep/kernel_context.hpp>
#include <ringer/ep/message.hpp>

namespace ringer::ep {

/// Sends one message to one expert and counts it as posted. `message` lies in shared memory and, if
/// the expert's rank is not mapped, in the window's stage, too.
template <Platform P, Warp W>
RINGER_HD void send_message(KernelContext<P, W>& ctx, const W& w, const DispatchArgs& a,
                            uint64_t parity, uint64_t token, uint32_t expert,
                            const uint8_t* message) {
  const Layout& layout = a.common.layout;
  const uint32_t peer = expert / layout.experts_per_rank;
  const uint32_t local_expert = expert % layout.experts_per_rank;
  uint64_t* counter = &a.common.state->send_counters[expert];
  const uint32_t slot = w.broadcast([&] {
    // Relaxed: hands out a number; the release below orders what is done with it.
    return low_half(
        ctx.platform().template fetch_add<Scope::gpu, Order::relaxed>(counter, uint64_t{1}));
  });
  const uint64_t to = layout.dispatch_slot(parity, local_expert, a.common.channel.rank, slot);
  if (uint8_t* mapped = ctx.channel().mapped(peer, to); mapped != nullptr) {
    w.push(mapped, message, layout.message_bytes);
    w.push_wait();
  } else {
    w.leader([&] {
      const uint64_t from = layout.dispatch_stage(parity, token);
      const Status status = ctx.channel().put(local_expert, peer, to, from, layout.message_bytes,
                                              {false, false}, ctx.limit());
      if (!status.ok()) ctx.fail(status, peer);
    });
  }
  w.leader([&] {
    // Counted even after a failure, so that the tail never waits for a message that will not come.
    // Releases the push or post; pairs with the tail's wait: acquire.
    ctx.platform().template fetch_add<Scope::gpu, Order::release>(counter, pack(1, 0));
  });
}

/// Makes one token's message, by a group of warps, and sends it to its experts, a warp each.
template <Platform P, Warp W>
RINGER_HD void send_token(KernelContext<P, W>& ctx, const W& w, const WarpGroup& group,
                          const DispatchArgs& a, uint64_t epoch, uint32_t token) {
  const Layout& layout = a.common.layout;
  const uint64_t parity = epoch & 1;
  const uint32_t experts = layout.ranks * layout.experts_per_rank;
  const int32_t* row = a.topk_idx + uint64_t{token} * layout.topk;
  auto* message = static_cast<uint8_t*>(w.shared(shared_bytes(layout, w.warps_per_block()))) +
                  group.in_block * layout.message_bytes;
  const MessageHeader header{token, layout.topk, low_half(epoch), 0};
  write_message(w, group.share, message, header, row, a.x + uint64_t{token} * layout.hidden, layout,
                a.common.dtype);
  w.push_fence();
  sync_group(w, group);
  const uint32_t posted = w.find(layout.topk, [&](uint32_t k) {
    return row[k] >= 0 && static_cast<uint32_t>(row[k]) < experts &&
           ctx.channel().mapped(static_cast<uint32_t>(row[k]) / layout.experts_per_rank, 0) ==
               nullptr;
  });
  if (posted != layout.topk) {  // somebody's NIC reads it
    w.copy(group.share, a.common.channel.window + layout.dispatch_stage(parity, token), message,
           layout.message_bytes);
    sync_group(w, group);  // all lanes' stores before one lane posts
  }
  for (uint32_t k = group.share.warp; k < layout.topk; k += group.share.warps) {
    if (row[k] < 0 || first_of(row, k) != k) continue;
    if (static_cast<uint32_t>(row[k]) >= experts) {
      ctx.fail(make_status(StatusCode::invalid), kNoPeer);
      continue;
    }
    send_message(ctx, w, a, parity, token, static_cast<uint32_t>(row[k]), message);
  }
  sync_group(w, group);  // before the message is overwritten
}

/// Number of this rank's messages for one expert.
template <Warp W>
RINGER_HD uint32_t count_messages(const W& w, const DispatchArgs& a, uint32_t expert) {
  const uint32_t topk = a.common.layout.topk;
  const uint64_t count = w.sum(uint64_t{a.tokens} * topk, [&](uint64_t i) -> uint64_t {
    if (a.topk_idx[i] != static_cast<int32_t>(expert)) return 0;
    const auto k = static_cast<uint32_t>(i % topk);
    return first_of(a.topk_idx + (i - k), k) == k ? 1 : 0;
  });
  return static_cast<uint32_t>(count);
}

/// Waits until all messages of this rank for one expert are posted and sends the flag behind them.
template <Platform P, Warp W>
RINGER_HD void send_tail(KernelContext<P, W>& ctx, const W& w, const DispatchArgs& a,
                         uint64_t epoch, uint32_t expert) {
  const Layout& layout = a.common.layout;
  DeviceState& state = *a.common.state;
  const uint64_t parity = epoch & 1;
  const uint32_t experts = layout.ranks * layout.experts_per_rank;
  const uint32_t peer = expert / layout.experts_per_rank;
  const uint32_t local_expert = expert % layout.experts_per_rank;
  const uint32_t count = count_messages(w, a, expert);
  w.leader([&] {
    const P& p = ctx.platform();
    const WaitOutcome posted = p.template wait_until<Scope::gpu, Order::acquire>(
        &state.send_counters[expert],
        [&](uint64_t now) {
          return high_half(now) == count;
        },  // pairs with send_message(): release
        WaitLimit{ctx.limit().expires_ns, nullptr}, "messages of an expert posted");
    if (posted != WaitOutcome::done) {  // no flag may promise what has not been sent
      ctx.fail(make_status(StatusCode::deadline), peer);
      return;
    }
    p.template store<Scope::gpu, Order::relaxed>(&state.send_counters[expert], uint64_t{0});
    ctx.send_flag(local_expert, peer,
                  layout.dispatch_flag(parity, local_expert, a.common.channel.rank), epoch, count,
                  &state.dispatch_flags_sent[parity * experts + expert]);
  });
}

template <Platform P, Warp W>
RINGER_HD void dispatch_send(P p, W w, const DispatchArgs& a) {
  KernelContext<P, W> ctx(p, w, a.common, Stage::dispatch_send);
  if (!ctx.accepts(a.tokens)) return;
  const uint64_t epoch = ctx.epoch(&a.common.state->dispatch_epoch);
  const WarpGroup group = make_group(w);
  for (uint32_t token = group.index; token < a.tokens; token += group.groups) {
    send_token(ctx, w, group, a, epoch, token);
  }
  // From the other end: with fewer tokens than groups the tails fall to warps that have none.
  const uint32_t experts = a.common.layout.ranks * a.common.layout.experts_per_rank;
  const uint32_t warps = warps_in_grid(w);
  for (uint32_t e = warps - 1 - warp_across_blocks(w); e < experts; e += warps) {
    send_tail(ctx, w, a, epoch, e);
  }
}

/// Copies message `i` of a source to its row and notes where it came from.
template <Platform P, Warp W>
RINGER_HD void receive_message(KernelContext<P, W>& ctx, const W& w, const DispatchArgs& a,
                               uint64_t epoch, uint32_t local_expert, uint32_t source, uint32_t i,
                               uint64_t row) {
  const Layout& layout = a.common.layout;
  const uint8_t* message =
      a.common.channel.window + layout.dispatch_slot(epoch & 1, local_expert, source, i);
  const auto expert =
      static_cast<int32_t>(a.common.channel.rank * layout.experts_per_rank + local_expert);
  const uint8_t* payload = message + layout.payload_offset;
  const uint8_t* scales = payload + layout.payload_bytes;
  w.copy(WarpShare{}, a.recv_x + row * layout.payload_bytes, payload, layout.payload_bytes);
  if (a.common.dtype == Dtype::fp8) {
    w.strided(layout.scale_bytes / 4, [&](uint64_t s) {
      store_as<uint32_t>(a.recv_scales + row * layout.scale_bytes + s * 4,
                         load_as<uint32_t>(scales + s * 4));
    });
  } else if (a.common.dtype == Dtype::fp8_ue8m0) {
    w.strided(layout.scale_bytes,
              [&](uint64_t s) { a.recv_scales[row * layout.scale_bytes + s] = scales[s]; });
  }
  const uint32_t k = w.find(layout.topk, [&](uint32_t entry) {
    return load_as<int32_t>(message + sizeof(MessageHeader) + entry * sizeof(int32_t)) == expert;
  });
  w.leader([&] {
    const auto header = load_as<MessageHeader>(message);
    // The flag promised this message: anything else here means payload behind its flag. The row
    // must stay harmless all the same, for a combine may follow in this launch.
    const bool expected = header.epoch == low_half(epoch) && header.topk == layout.topk &&
                          header.token < layout.max_tokens && k < layout.topk;
    if (!expected) ctx.fail(make_status(StatusCode::invalid), source);
    a.source_info[row] = expected ? SourceInfo{header.token, k} : SourceInfo{0, 0};
  });
}

template <Platform P, Warp W>
RINGER_HD void dispatch_receive(P p, W w, const DispatchArgs& a) {
  KernelContext<P, W> ctx(p, w, a.common, Stage::dispatch_receive);
  if (!ctx.accepts(a.tokens)) return;
  const Layout& layout = a.common.layout;
  DeviceState& state = *a.common.state;
  const uint64_t epoch = ctx.epoch(&state.dispatch_epoch);

  const Units units = split_units(w, layout.experts_per_rank * layout.ranks, layout.max_tokens);
  for (uint64_t unit = warp_across_blocks(w); unit < units.count(); unit += warps_in_grid(w)) {
    const auto pair = static_cast<uint32_t>(unit % units.items);
    const auto part = static_cast<uint32_t>(unit / units.items);
    const uint32_t local_expert = pair / layout.ranks;
    const uint32_t source = pair % layout.ranks;
    // Rows are packed in rank order, so a source's first row is the sum of the counts before it.
    const uint64_t counts = w.sum(source + 1, [&](uint64_t rank) -> uint64_t {
      const uint32_t count = ctx.wait_flag(layout.dispatch_flag(epoch & 1, local_expert, rank),
                                           epoch, static_cast<uint32_t>(rank), "dispatch flag");
      return rank == source ? pack(count, 0) : count;
    });
    const uint32_t first = low_half(counts);
    const uint32_t count = high_half(counts);
    if (part == 0) {
      w.leader([&] {
        a.recv_ranges[pair] = pack(first, count);
        if (source + 1 == layout.ranks) a.recv_count[local_expert] = first + count;
      });
    }
    for (uint32_t i = part; i < count; i += units.parts) {
      const uint64_t row = local_expert * layout.rows_per_expert() + first + i;
      receive_message(ctx, w, a, epoch, local_expert, source, i, row);
    }
  }
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
