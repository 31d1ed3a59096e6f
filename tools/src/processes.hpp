// SPDX-License-Identifier: Apache-2.0
// The processes that run one command together, as mpirun has started them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <ringer/control_plane.hpp>

namespace ringer::tools {

class Processes {
 public:
  virtual ~Processes() = default;
  /// How they meet; null if this process is alone.
  virtual Exchange* exchange() { return nullptr; }
  /// Ends all of them.
  virtual void abort(int /*exit_code*/) {}

  /// True in the process that talks to people.
  bool speaks() { return exchange() == nullptr || exchange()->rank() == 0; }
};

/// Throws BackendError if there are several, but this build has no MPI.
std::unique_ptr<Processes> join_processes();

/// Whether a launcher of MPI jobs has started this process as one of several; with some launchers
/// only MPI knows whether there are others.
bool launched_by_mpi();

/// The MPI that this build has, or "".
std::string mpi_version();

}  // namespace ringer::tools
