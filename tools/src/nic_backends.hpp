// SPDX-License-Identifier: Apache-2.0
// The backends that this build can open by name.
#pragma once

#include <memory>
#include <vector>

#include <ringer/control_plane.hpp>

#include "ep_runner.hpp"
#include "nic_assignment.hpp"

namespace ringer::tools {

/// NICs of the machine, or what `ringer run` shows in their place: `kind` is mlx5 or verbs.
/// Settings come from the environment, and NICs go to ranks as assign_nic() says. Errors:
/// BackendError if the build or the machine has none.
std::unique_ptr<Backend> make_nic_backend(EpBackend kind, const std::vector<RankPlace>& places,
                                          const NodeFacts& facts);

}  // namespace ringer::tools
