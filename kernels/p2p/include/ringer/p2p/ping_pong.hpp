// SPDX-License-Identifier: Apache-2.0
// Two warps that answer each other: put a message, then a flag behind it; wait for the answer.
#pragma once

#include <ringer/endpoint.hpp>
#include <ringer/simt.hpp>

namespace ringer::p2p {

/// One end. Its window is [message in][message out][flag in], each at `stride` bytes from the last.
struct PingPongEnd {
  const DeviceQp* qp;
  uint8_t* window;
  uint32_t lkey;
  RemoteRef peer_window;
};

/// One launch: two blocks of one warp, block b is end b. End 0 begins.
struct PingPongArgs {
  PingPongEnd ends[2];
  uint64_t stride;
  uint32_t bytes;  ///< of a message, at least 1
  uint32_t iterations;
  uint64_t first;  ///< number of the first message: above all of earlier launches
  uint64_t timeout_ns;
  uint64_t* round_trips_ns;  ///< [iterations], by end 0
  uint64_t* wrong;           ///< [2] messages that were not what they should be, by end
  Status* statuses;          ///< [2] by end
};

template <class Policy, Platform P>
RINGER_HD Status ping_pong_end(P p, const PingPongArgs& args, uint32_t side) {
  const PingPongEnd& end = args.ends[side];
  const DeviceQp qp = *end.qp;
  Endpoint<P, Policy> endpoint(p, qp);
  const WaitLimit limit = limit_after(p, args.timeout_ns);
  const uint8_t* in = end.window;
  uint8_t* out = end.window + args.stride;
  const auto* flag = reinterpret_cast<const uint64_t*>(end.window + 2 * args.stride);
  const LocalRef source{reinterpret_cast<uint64_t>(out), end.lkey};
  const RemoteRef target = end.peer_window;
  const RemoteRef target_flag{target.address + 2 * args.stride, target.rkey};
  const uint32_t last = args.bytes - 1;
  uint64_t wrong = 0;

  // The first and the last byte tell messages apart; the rest is what the host has put there.
  const auto send = [&](uint64_t number) {
    out[0] = out[last] = static_cast<uint8_t>(number);
    const Posted put = endpoint.put(source, target, args.bytes, {false, false}, limit);
    if (!put.status.ok()) return put.status;
    return endpoint.put_inline(number, target_flag, {false, true}, limit).status;
  };
  const auto receive = [&](uint64_t number) {
    const Status status = wait_signal(p, flag, number, limit);
    const auto stamp = static_cast<uint8_t>(number);
    if (status.ok() && (in[0] != stamp || in[last] != stamp)) ++wrong;
    return status;
  };

  Status status;
  for (uint32_t i = 0; i < args.iterations && status.ok(); ++i) {
    const uint64_t begin = p.now_ns();
    status = side == 0 ? send(args.first + i) : receive(args.first + i);
    if (status.ok()) status = side == 0 ? receive(args.first + i) : send(args.first + i);
    if (side == 0) args.round_trips_ns[i] = p.now_ns() - begin;
  }
  if (status.ok()) status = endpoint.flush(limit);
  args.wrong[side] = wrong;
  return status;
}

template <class Policy, Platform P, Warp W>
RINGER_HD void ping_pong(P p, const W& w, const PingPongArgs& args) {
  w.leader([&] { args.statuses[w.block()] = ping_pong_end<Policy>(p, args, w.block()); });
}

}  // namespace ringer::p2p
