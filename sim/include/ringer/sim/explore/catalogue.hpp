// SPDX-License-Identifier: Apache-2.0
// The scenarios that show what the protocol's orders and checks are needed for, and the matrix of
// what is weakened and which of them finds it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <ringer/sim/explore/search.hpp>

namespace ringer::sim {

/// A scenario of one size, by name; `make` builds it anew.
struct Entry {
  std::string name;
  std::function<std::unique_ptr<Scenario>()> make;
  bool whole = true;  ///< all executions are few enough for a test
};

/// Small ones, each complete in a second or bounded. Names are unique.
const std::vector<Entry>& catalogue();

/// Searches one scenario as the catalogue's are searched: by what loads read, at most
/// `max_executions` of them, then as many drawn at random.
ExploreResult search(const Program& program, uint64_t max_executions = 20'000);

/// All that can be weakened where the catalogue's scenarios come by, sorted by name.
std::vector<Mutation> all_mutations();

/// Whether the program's actors come by what is weakened, in some of its executions.
bool reaches(const Program& program, const Mutation& mutation);

/// A mutation and what found it.
struct MatrixRow {
  Mutation mutation;
  std::string scenario;  ///< empty: nothing did
  ExploreResult result;
};

/// Searches for each mutation until one of the scenarios fails.
std::vector<MatrixRow> mutation_matrix();

}  // namespace ringer::sim
