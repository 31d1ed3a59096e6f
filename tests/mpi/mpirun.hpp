// SPDX-License-Identifier: Apache-2.0
// Programs of several processes, on this host.
#pragma once

#include <string>
#include <vector>

#include "cli/cli_support.hpp"

namespace ringer::test {

/// Open MPI on any machine: as root in a container, on few processors, without ssh or a network.
inline const std::vector<std::string> kMpiEnvironment{
    "OMPI_ALLOW_RUN_AS_ROOT=1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
    "OMPI_MCA_rmaps_base_oversubscribe=1",
    "OMPI_MCA_mpi_yield_when_idle=1",
    "OMPI_MCA_plm=isolated",
    "OMPI_MCA_btl=self,vader",
    "OMPI_MCA_btl_vader_single_copy_mechanism=none"};

/// mpirun with these arguments; ended when it takes too long, which its own --timeout may fail to
/// do.
inline CommandResult mpirun(const std::vector<std::string>& arguments,
                            const std::vector<std::string>& environment = {}) {
  std::vector<std::string> command{"/usr/bin/env", "timeout", "-k", "5", "120", RINGER_MPIRUN};
  command.insert(command.end(), arguments.begin(), arguments.end());
  std::vector<std::string> variables = kMpiEnvironment;
  variables.insert(variables.end(), environment.begin(), environment.end());
  return run_command(command, variables);
}

inline size_t occurrences(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

}  // namespace ringer::test
