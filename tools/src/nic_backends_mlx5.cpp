// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>

#include <ringer/mlx5/mlx5_backend.hpp>

#include "nic_backends.hpp"
#include "routing.hpp"

namespace ringer::tools {

namespace {

mlx5::FabricSettings settings_of_environment() {
  try {
    return mlx5::read_fabric_settings([](const char* name) { return std::getenv(name); });
  } catch (const BackendError& e) {
    throw UsageError(e.what());  // a value that means nothing
  }
}

}  // namespace

std::unique_ptr<Backend> make_mlx5_backend(const std::vector<RankPlace>& places,
                                           const NodeFacts& facts) {
  const auto order = [places, facts](uint32_t rank, const std::vector<mlx5::PortFacts>& usable) {
    std::vector<std::string> names;
    for (const mlx5::PortFacts& port : usable) names.push_back(port.device);
    const NicPick pick = assign_nic(places, rank, facts, names);
    return mlx5::PortPick{pick.nic, pick.why};
  };
  return std::make_unique<mlx5::Mlx5Backend>(settings_of_environment(), order);
}

}  // namespace ringer::tools
