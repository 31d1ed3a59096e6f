// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <climits>
#include <thread>

#include <ringer/mpi/mpi_exchange.hpp>

#include "mpi_check.hpp"

namespace ringer::mpi {

namespace {
constexpr uint32_t kYieldTurns = 4096;  // before napping: the other processes need processors, too
constexpr std::chrono::microseconds kNap{50};
}  // namespace

/// What MPI reads and writes until a request is complete, and the communicator it goes through.
struct MpiExchange::Gathering {
  MPI_Comm comm = MPI_COMM_NULL;
  MPI_Request request = MPI_REQUEST_NULL;
  std::vector<std::byte> mine;
  uint64_t bytes = 0;  // of mine
  std::vector<uint64_t> sizes;
  std::vector<int> counts, offsets;
  std::vector<std::byte> all;
};

MpiExchange::MpiExchange(MpiSession& session, uint64_t timeout_ns)
    : session_(session), timeout_ns_(timeout_ns), connection_(std::make_unique<Gathering>()) {
  // A communicator of our own, so that nobody else's collectives meet these.
  check(MPI_Comm_idup(MPI_COMM_WORLD, &connection_->comm, &connection_->request), "MPI_Comm_idup");
  finish(connection_, "MPI_Comm_idup");
  check(MPI_Comm_set_errhandler(connection_->comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
}

MpiExchange::~MpiExchange() {
  if (!session_.failed_ && connection_) MPI_Comm_free(&connection_->comm);
}

// A collective cannot be cancelled: what it may still write to is left to it for good.
void MpiExchange::finish(std::unique_ptr<Gathering>& gathering, const char* call) {
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + std::chrono::nanoseconds(timeout_ns_);
  for (uint32_t turn = 0;; ++turn) {
    int done = 0;
    const int error = MPI_Test(&gathering->request, &done, MPI_STATUS_IGNORE);
    if (error == MPI_SUCCESS && done != 0) return;
    const bool late = Clock::now() >= deadline;
    if (error != MPI_SUCCESS || late) {
      session_.failed_ = true;
      static_cast<void>(gathering.release());
      check(error, call);
      throw BackendError(std::string(call) + ": not all of the " + std::to_string(ranks()) +
                         " processes came within " + std::to_string(timeout_ns_ / 1'000'000) +
                         " ms");
    }
    if (turn < kYieldTurns) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(kNap);
    }
  }
}

std::vector<std::vector<std::byte>> MpiExchange::all_gather(std::span<const std::byte> mine) {
  if (session_.failed_) throw BackendError("all_gather: an exchange has failed before");
  const auto start = [this](int error, const char* call) {
    session_.failed_ = error != MPI_SUCCESS;
    check(error, call);
  };
  auto g = std::make_unique<Gathering>();
  g->mine.assign(mine.begin(), mine.end());
  g->bytes = mine.size();
  g->sizes.resize(ranks());
  start(MPI_Iallgather(&g->bytes, 1, MPI_UINT64_T, g->sizes.data(), 1, MPI_UINT64_T,
                       connection_->comm, &g->request),
        "MPI_Iallgather");
  finish(g, "MPI_Iallgather");

  uint64_t total = 0;
  for (const uint64_t size : g->sizes) {
    // Everybody sees the same sizes, so nobody goes on alone.
    if (size > INT_MAX - total) throw BackendError("all_gather: more than 2 GiB in all");
    g->counts.push_back(static_cast<int>(size));
    g->offsets.push_back(static_cast<int>(total));
    total += size;
  }
  g->all.resize(total);
  start(
      MPI_Iallgatherv(g->mine.data(), g->counts[rank()], MPI_BYTE, g->all.data(), g->counts.data(),
                      g->offsets.data(), MPI_BYTE, connection_->comm, &g->request),
      "MPI_Iallgatherv");
  finish(g, "MPI_Iallgatherv");

  std::vector<std::vector<std::byte>> parts;
  for (uint32_t r = 0; r < ranks(); ++r) {
    const auto begin = g->all.begin() + g->offsets[r];
    parts.emplace_back(begin, begin + g->counts[r]);
  }
  return parts;
}

}  // namespace ringer::mpi
