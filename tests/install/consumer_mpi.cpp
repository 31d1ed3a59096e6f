// SPDX-License-Identifier: Apache-2.0
// A job of one process, started by hand.
#include <cstdio>

#include <ringer/mpi/mpi_exchange.hpp>

int main() {
  ringer::mpi::MpiSession session;
  ringer::mpi::MpiExchange exchange(session);
  const auto all = ringer::all_gather_value(exchange, 42);
  std::printf("%s: %zu process\n", ringer::mpi::library_version().c_str(), all.size());
  return all.size() == session.processes() && all[0] == 42 ? 0 : 1;
}
