// SPDX-License-Identifier: Apache-2.0
// Stands in for processes_mpi.cpp where there is no MPI.
#include "processes.hpp"

namespace ringer::tools {

std::unique_ptr<Processes> join_processes() {
  if (launched_by_mpi()) {
    throw BackendError(
        "one of several processes of an MPI job, but this build has no MPI: it takes "
        "libopenmpi-dev and no -DRINGER_MPI=OFF");
  }
  return std::make_unique<Processes>();
}

std::string mpi_version() { return ""; }

}  // namespace ringer::tools
