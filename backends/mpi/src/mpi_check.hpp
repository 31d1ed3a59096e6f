// SPDX-License-Identifier: Apache-2.0
// MPI's errors as exceptions.
#pragma once

#include <string>

#include <mpi.h>

#include <ringer/control_plane.hpp>

namespace ringer::mpi {

/// Throws BackendError "<call>: <error>" unless `error` is success.
inline void check(int error, const char* call) {
  if (error == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  MPI_Error_string(error, text, &length);
  throw BackendError(std::string(call) + ": " + text);
}

}  // namespace ringer::mpi
