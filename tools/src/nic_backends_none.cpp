// SPDX-License-Identifier: Apache-2.0
#include "nic_backends.hpp"

namespace ringer::tools {

std::unique_ptr<Backend> make_mlx5_backend(const std::vector<RankPlace>&, const NodeFacts&) {
  throw BackendError(
      "--backend mlx5: this build has no mlx5 backend (libibverbs-dev was not there)");
}

}  // namespace ringer::tools
