// SPDX-License-Identifier: Apache-2.0
#include "processes.hpp"

#include <cstdlib>

namespace ringer::tools {

bool launched_by_mpi() {
  for (const char* size : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}) {
    const char* text = std::getenv(size);
    if (text != nullptr) return std::string(text) != "1";
  }
  return std::getenv("PMIX_RANK") != nullptr;
}

}  // namespace ringer::tools
