// SPDX-License-Identifier: Apache-2.0
// Low-latency dispatch: each token goes to the ranks of its experts, packed there by local expert.
// Send: messages unsignaled and un-rung, then per expert one flag that is signaled and rung.
// Receive: per (local expert, source) the flag, then the rows. Either phase may be its own launch.
#pragma once

#include <ringer/ep/kernel_context.hpp>
#include <ringer/ep/message.hpp>

namespace ringer::ep {

/// Sends one staged token to one expert and counts it as posted.
template <Platform P, Warp W>
RINGER_HD void send_token(KernelContext<P, W>& ctx, const W& w, const DispatchArgs& a,
                          uint64_t parity, uint64_t token, uint32_t expert) {
  const Layout& layout = a.common.layout;
  const uint32_t peer = expert / layout.experts_per_rank;
  const uint32_t local_expert = expert % layout.experts_per_rank;
  uint64_t* counter = &a.common.state->send_counters[expert];
  const uint32_t slot = w.broadcast([&] {
    // Relaxed: hands out a number; the release below orders what is done with it.
    return low_half(
        ctx.platform().template fetch_add<Scope::gpu, Order::relaxed>(counter, uint64_t{1}));
  });
  const uint64_t from = layout.dispatch_stage(parity, token);
  const uint64_t to = layout.dispatch_slot(parity, local_expert, a.common.channel.rank, slot);
  if (uint8_t* mapped = ctx.channel().mapped(peer, to); mapped != nullptr) {
    copy_warp(w, mapped, a.common.channel.window + from, layout.message_bytes);
  } else {
    w.leader([&] {
      const Status status = ctx.channel().put(local_expert, peer, to, from, layout.message_bytes,
                                              {false, false}, ctx.limit());
      if (!status.ok()) ctx.fail(status, peer);
    });
  }
  w.sync();
  w.leader([&] {
    // Counted even after a failure, so that the tail never waits for a message that will not come.
    // Releases the copies and posts; pairs with the tail's wait: acquire.
    ctx.platform().template fetch_add<Scope::gpu, Order::release>(counter, pack(1, 0));
  });
}

/// Number of this rank's messages for one expert.
template <Warp W>
RINGER_HD uint32_t count_messages(const W& w, const DispatchArgs& a, uint32_t expert) {
  const uint32_t topk = a.common.layout.topk;
  const uint64_t count = w.sum(a.tokens, [&](uint64_t token) -> uint64_t {
    const int32_t* row = a.topk_idx + token * topk;
    for (uint32_t k = 0; k < topk; ++k) {
      if (row[k] == static_cast<int32_t>(expert)) return 1;
    }
    return 0;
  });
  return static_cast<uint32_t>(count);
}

template <Platform P, Warp W>
RINGER_HD void dispatch_send(P p, W w, const DispatchArgs& a) {
  KernelContext<P, W> ctx(p, w, a.common, Stage::dispatch_send);
  if (!ctx.accepts(a.tokens)) return;
  const Layout& layout = a.common.layout;
  DeviceState& state = *a.common.state;
  const uint64_t epoch = ctx.epoch(&state.dispatch_epoch);
  const uint64_t parity = epoch & 1;
  const uint32_t experts = layout.ranks * layout.experts_per_rank;

  for (uint64_t token = warp_in_grid(w); token < a.tokens; token += warps_in_grid(w)) {
    const int32_t* row = a.topk_idx + token * layout.topk;
    const MessageHeader header{static_cast<uint32_t>(token), layout.topk, low_half(epoch), 0};
    write_message(w, a.common.channel.window + layout.dispatch_stage(parity, token), header, row,
                  a.x + token * layout.hidden, layout, a.common.dtype);
    w.sync();  // all lanes' stores before one lane posts
    for (uint32_t k = 0; k < layout.topk; ++k) {
      if (row[k] < 0 || first_of(row, k) != k) continue;
      if (static_cast<uint32_t>(row[k]) >= experts) {
        ctx.fail(make_status(StatusCode::invalid), kNoPeer);
        continue;
      }
      send_token(ctx, w, a, parity, token, static_cast<uint32_t>(row[k]));
    }
  }

  for (uint32_t expert = warp_in_grid(w); expert < experts; expert += warps_in_grid(w)) {
    const uint32_t peer = expert / layout.experts_per_rank;
    const uint32_t local_expert = expert % layout.experts_per_rank;
    const uint32_t count = count_messages(w, a, expert);
    w.leader([&] {
      const WaitOutcome posted = p.template wait_until<Scope::gpu, Order::acquire>(
          &state.send_counters[expert],
          [&](uint64_t now) {
            return high_half(now) == count;
          },  // pairs with send_token(): release
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
}

/// Copies message `i` of a source to its row and notes where it came from.
template <Platform P, Warp W>
RINGER_HD void receive_token(KernelContext<P, W>& ctx, const W& w, const DispatchArgs& a,
                             uint64_t epoch, uint32_t local_expert, uint32_t source, uint32_t i,
                             uint64_t row) {
  const Layout& layout = a.common.layout;
  const uint8_t* message =
      a.common.channel.window + layout.dispatch_slot(epoch & 1, local_expert, source, i);
  const uint32_t expert = a.common.channel.rank * layout.experts_per_rank + local_expert;
  w.leader([&] {
    MessageHeader header;
    std::memcpy(&header, message, sizeof(header));
    uint32_t k = 0;
    for (; k < layout.topk; ++k) {
      int32_t entry;
      std::memcpy(&entry, message + sizeof(header) + k * sizeof(entry), sizeof(entry));
      if (entry == static_cast<int32_t>(expert)) break;
    }
    // The flag promised this message: anything else here means payload behind its flag. The row
    // must stay harmless all the same, for a combine may follow in this launch.
    const bool expected = header.epoch == low_half(epoch) && header.topk == layout.topk &&
                          header.token < layout.max_tokens && k < layout.topk;
    if (!expected) ctx.fail(make_status(StatusCode::invalid), source);
    a.source_info[row] = expected ? SourceInfo{header.token, k} : SourceInfo{0, 0};
  });
  const uint8_t* payload = message + layout.payload_offset;
  copy_warp(w, a.recv_x + row * layout.payload_bytes, payload, layout.payload_bytes);
  if (layout.scale_bytes != 0) {
    copy_warp(w, a.recv_scales + row * layout.scale_bytes, payload + layout.payload_bytes,
              layout.scale_bytes);
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
  auto* shared_range = static_cast<uint64_t*>(w.shared(kSharedBytes)) + group.in_block;

  const uint32_t pairs = layout.experts_per_rank * layout.ranks;
  for (uint32_t pair = group.index; pair < pairs; pair += group.groups) {
    const uint32_t local_expert = pair / layout.ranks;
    const uint32_t source = pair % layout.ranks;
    if (group.warp == 0) {
      w.leader([&] {
        const uint32_t count = ctx.wait_flag(layout.dispatch_flag(epoch & 1, local_expert, source),
                                             epoch, source, "dispatch flag");
        // Acquire and release: the last source sees all rows handed out before it.
        const uint64_t before = p.template fetch_add<Scope::gpu, Order::acq_rel>(
            &state.receive_counters[local_expert], pack(1, count));
        const uint32_t first = low_half(before);
        *shared_range = a.recv_ranges[pair] = pack(first, count);
        if (high_half(before) + 1 == layout.ranks) {
          a.recv_count[local_expert] = first + count;
          p.template store<Scope::gpu, Order::relaxed>(&state.receive_counters[local_expert],
                                                       uint64_t{0});
        }
      });
    }
    sync_group(w, group);
    const uint64_t range = *shared_range;
    sync_group(w, group);  // read by all before the next pair overwrites it
    for (uint32_t i = group.warp; i < low_half(range); i += group.warps) {
      const uint64_t row = local_expert * layout.rows_per_expert() + high_half(range) + i;
      receive_token(ctx, w, a, epoch, local_expert, source, i, row);
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
