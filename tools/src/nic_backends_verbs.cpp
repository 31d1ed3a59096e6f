// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>

#include <ringer/mlx5/mlx5_backend.hpp>
#include <ringer/verbs/verbs_backend.hpp>

#include "nic_backends.hpp"
#include "routing.hpp"

namespace ringer::tools {

namespace {

const char* variable(const char* name) { return std::getenv(name); }

template <class Settings>
Settings of_environment(Settings (*read)(const verbs::Lookup&)) {
  try {
    return read(variable);
  } catch (const BackendError& e) {
    throw UsageError(e.what());  // a value that means nothing
  }
}

}  // namespace

std::unique_ptr<Backend> make_nic_backend(EpBackend kind, const std::vector<RankPlace>& places,
                                          const NodeFacts& facts) {
  const auto order = [places, facts](uint32_t rank, const std::vector<verbs::PortFacts>& usable) {
    std::vector<std::string> names;
    for (const verbs::PortFacts& port : usable) names.push_back(port.device);
    const NicPick pick = assign_nic(places, rank, facts, names);
    return verbs::PortPick{pick.nic, pick.why};
  };
  if (kind == EpBackend::verbs) {
    return std::make_unique<verbs::VerbsBackend>(of_environment(verbs::read_verbs_settings), order);
  }
  return std::make_unique<mlx5::Mlx5Backend>(of_environment(mlx5::read_mlx5_settings), order);
}

}  // namespace ringer::tools
