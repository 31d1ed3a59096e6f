// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <cstdlib>
#include <optional>

#include <ringer/mpi/mpi_exchange.hpp>

#include "cli.hpp"
#include "processes.hpp"

namespace ringer::tools {

namespace {

// Generations and checks of large shapes take their time, on each process another.
uint64_t patience_ns() {
  constexpr uint64_t kDefaultMs = 300'000;
  constexpr uint64_t kLongestMs = 86'400'000;
  constexpr const char* kVariable = "RINGER_EXCHANGE_TIMEOUT_MS";
  const char* text = std::getenv(kVariable);
  if (text == nullptr) return kDefaultMs * 1'000'000;
  char* end = nullptr;
  const unsigned long long ms = std::strtoull(text, &end, 10);
  if (*text < '0' || *text > '9' || *end != '\0' || ms == 0 || ms > kLongestMs) {
    throw BackendError(std::string(kVariable) + "='" + text + "' is no number from 1 to " +
                       std::to_string(kLongestMs));
  }
  return ms * 1'000'000;
}

class MpiProcesses : public Processes {
 public:
  Exchange* exchange() override { return session_.processes() == 1 ? nullptr : &*exchange_; }
  void abort(int exit_code) override { session_.abort(exit_code); }
  void meet() { exchange_.emplace(session_, patience_ns()); }

 private:
  mpi::MpiSession session_;
  std::optional<mpi::MpiExchange> exchange_;
};

}  // namespace

std::unique_ptr<Processes> join_processes() {
  if (!launched_by_mpi()) return std::make_unique<Processes>();
  auto processes = std::make_unique<MpiProcesses>();
  try {
    processes->meet();
  } catch (const BackendError& error) {
    // Nobody else would say so: a session that goes while something is thrown ends the job.
    std::fprintf(stderr, "ringer: %s\n", error.what());
    processes->abort(kExitEnvironment);
  }
  return processes;
}

std::string mpi_version() { return mpi::library_version(); }

}  // namespace ringer::tools
