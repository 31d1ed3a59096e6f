// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>

#include <ringer/mlx5/mlx5_backend.hpp>

#include "nic_backends.hpp"

namespace ringer::tools {

std::unique_ptr<Backend> make_mlx5_backend() {
  return std::make_unique<mlx5::Mlx5Backend>(
      mlx5::read_fabric_settings([](const char* name) { return std::getenv(name); }));
}

}  // namespace ringer::tools
