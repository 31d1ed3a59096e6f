// SPDX-License-Identifier: Apache-2.0
// Low-latency dispatch: each token goes to the ranks of its experts, packed there by local expert.
// Either phase may be its own launch.
#pragma once

#include <ringer/ep/dispatch_receive.hpp>
#include <ringer/ep/dispatch_send.hpp>

namespace ringer::ep {

/// Both phases in one launch.
template <Platform P, Warp W>
RINGER_HD void dispatch(P p, W w, const DispatchArgs& a) {
  dispatch_send(p, w, a);
  dispatch_receive(p, w, a);
}

}  // namespace ringer::ep
