// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>

#include <unistd.h>

#include <ringer/mlx5/mlx5_backend.hpp>
#include <ringer/verbs/verbs_backend.hpp>

#include "nic_backends.hpp"
#include "routing.hpp"

namespace ringer::tools {

namespace {

const char* variable(const char* name) { return std::getenv(name); }

// A variable that is named as ours are, and that no backend looks up, is misspelt.
void refuse_misspelt() {
  std::set<std::string> known;
  const auto note = [&](const char* name) -> const char* {
    if (std::strncmp(name, "RINGER_IB_", 10) == 0) known.insert(name);
    return nullptr;
  };
  (void)mlx5::read_mlx5_settings(note);
  (void)verbs::read_verbs_settings(note);
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string name(*entry, std::strcspn(*entry, "="));
    if (name.rfind("RINGER_IB_", 0) != 0 || known.count(name) != 0) continue;
    std::string all;
    for (const std::string& other : known) all += (all.empty() ? "" : ", ") + other;
    throw UsageError(name + " is none of " + all);
  }
}

template <class Settings>
Settings of_environment(Settings (*read)(const verbs::Lookup&)) {
  refuse_misspelt();
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
