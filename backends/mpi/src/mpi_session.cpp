// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>
#include <exception>

#include <ringer/mpi/mpi_exchange.hpp>

#include "mpi_check.hpp"

namespace ringer::mpi {

std::string library_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  MPI_Get_library_version(text, &length);
  const std::string whole(text);
  return whole.substr(0, whole.find_first_of(",\n"));
}

MpiSession::MpiSession() : exceptions_(std::uncaught_exceptions()) {
  int initialized = 0;
  check(MPI_Initialized(&initialized), "MPI_Initialized");
  int provided = MPI_THREAD_SINGLE;
  if (initialized != 0) {
    check(MPI_Query_thread(&provided), "MPI_Query_thread");
  } else {
    check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided), "MPI_Init_thread");
    owner_ = true;
    check(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  }
  int process = 0, processes = 0;
  check(MPI_Comm_rank(MPI_COMM_WORLD, &process), "MPI_Comm_rank");
  check(MPI_Comm_size(MPI_COMM_WORLD, &processes), "MPI_Comm_size");
  process_ = static_cast<uint32_t>(process);
  processes_ = static_cast<uint32_t>(processes);
  if (provided < MPI_THREAD_SERIALIZED) {
    throw BackendError(library_version() + " takes calls from one thread only");
  }
}

MpiSession::~MpiSession() {
  if (!owner_) return;
  if (failed_ || std::uncaught_exceptions() > exceptions_) abort(EXIT_FAILURE);
  MPI_Finalize();
}

void MpiSession::abort(int exit_code) const {
  MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

}  // namespace ringer::mpi
