// SPDX-License-Identifier: Apache-2.0
// The backends that this build can open by name.
#pragma once

#include <memory>
#include <vector>

#include <ringer/control_plane.hpp>

#include "nic_assignment.hpp"

namespace ringer::tools {

/// ConnectX, or what `ringer run` shows in its place; settings come from the environment, and NICs
/// go to ranks as assign_nic() says.
/// Errors: BackendError if the build or the machine has none.
std::unique_ptr<Backend> make_mlx5_backend(const std::vector<RankPlace>& places,
                                           const NodeFacts& facts);

}  // namespace ringer::tools
