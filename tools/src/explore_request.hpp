// SPDX-License-Identifier: Apache-2.0
// What `ringer explore` is asked to explore.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include <ringer/sim/explore/catalogue.hpp>

#include "settings.hpp"

namespace ringer::tools {

enum class SearchMode { exhaustive, stateless, bounded, pct, random };

struct ExploreRequest {
  std::string scenario;     ///< as given
  std::string description;  ///< its options, as a command line has them; empty for the catalogue's
  std::unique_ptr<sim::Scenario> program;
  std::optional<sim::Mutation> mutation;
  SearchMode mode = SearchMode::exhaustive;
  uint64_t budget = 0;   ///< executions; 0: as many as there are
  uint32_t bound = 0;    ///< surprises
  uint32_t changes = 0;  ///< of priorities
  uint64_t seed = 0;
  std::string replay;  ///< empty: none
};

void declare_explore_settings(Settings& settings);

/// Throws UsageError, naming the option.
ExploreRequest read_explore_request(const Settings& settings);

}  // namespace ringer::tools
