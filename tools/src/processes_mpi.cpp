// SPDX-License-Identifier: Apache-2.0
#include <ringer/mpi/mpi_exchange.hpp>

#include "processes.hpp"

namespace ringer::tools {

namespace {

// Generations and checks of large shapes take their time, on each process another.
constexpr uint64_t kTimeoutNs = 300'000'000'000;

class MpiProcesses : public Processes {
 public:
  Exchange* exchange() override { return session_.processes() == 1 ? nullptr : &exchange_; }
  void abort(int exit_code) override { session_.abort(exit_code); }

 private:
  mpi::MpiSession session_;
  mpi::MpiExchange exchange_{session_, kTimeoutNs};
};

}  // namespace

std::unique_ptr<Processes> join_processes() {
  if (!launched_by_mpi()) return std::make_unique<Processes>();
  return std::make_unique<MpiProcesses>();
}

std::string mpi_version() { return mpi::library_version(); }

}  // namespace ringer::tools
