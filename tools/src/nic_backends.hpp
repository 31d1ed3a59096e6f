// SPDX-License-Identifier: Apache-2.0
// The backends that this build can open by name.
#pragma once

#include <memory>

#include <ringer/control_plane.hpp>

namespace ringer::tools {

/// ConnectX, or what `ringer run` shows in its place; settings come from the environment.
/// Errors: BackendError if the build or the machine has none.
std::unique_ptr<Backend> make_mlx5_backend();

}  // namespace ringer::tools
