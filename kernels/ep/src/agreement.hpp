// SPDX-License-Identifier: Apache-2.0
// Ranks that were built or configured differently would wait for each other for ever, or read each
// other's bytes wrongly.
#pragma once

#include <ringer/control_plane.hpp>
#include <ringer/ep/config.hpp>

namespace ringer::ep {

/// Collective. Throws BackendError on all ranks, naming the first rank and value that differ from
/// rank 0's.
void require_same(Exchange& exchange, const Config& config);

}  // namespace ringer::ep
