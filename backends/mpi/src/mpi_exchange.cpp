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

/// What MPI reads and writes until its requests are complete, and the communicator they go through.
struct MpiExchange::Gathering {
  MPI_Comm comm = MPI_COMM_NULL;
  std::vector<MPI_Request> requests;
  std::vector<std::byte> mine;
  uint64_t bytes = 0;  // of mine
  std::vector<uint64_t> sizes;
  std::vector<std::vector<std::byte>> all;
};

MpiExchange::MpiExchange(MpiSession& session, uint64_t timeout_ns)
    : session_(session), timeout_ns_(timeout_ns), connection_(std::make_unique<Gathering>()) {
  // A communicator of our own, so that nobody else's collectives meet these.
  connection_->requests.resize(1);
  check(MPI_Comm_idup(MPI_COMM_WORLD, &connection_->comm, connection_->requests.data()),
        "MPI_Comm_idup");
  finish(connection_, "MPI_Comm_idup");
  check(MPI_Comm_set_errhandler(connection_->comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
}

MpiExchange::~MpiExchange() {
  if (!session_.failed_ && connection_) MPI_Comm_free(&connection_->comm);
}

// What has been started is not taken back: what it may still write to is left to it for good.
void MpiExchange::finish(std::unique_ptr<Gathering>& gathering, const char* call) {
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + std::chrono::nanoseconds(timeout_ns_);
  std::vector<MPI_Request>& requests = gathering->requests;
  for (uint32_t turn = 0;; ++turn) {
    int done = 0;
    const int error =
        MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, MPI_STATUSES_IGNORE);
    if (error == MPI_SUCCESS && done != 0) return;
    if (error != MPI_SUCCESS || Clock::now() >= deadline) {
      session_.failed_ = true;
      const std::string absent = missing(*gathering);
      static_cast<void>(gathering.release());
      check(error, call);
      throw BackendError(std::string(call) + ": within " + std::to_string(timeout_ns_ / 1'000'000) +
                         " ms there came nothing from " + absent);
    }
    if (turn < kYieldTurns) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(kNap);
    }
  }
}

// Requests are one a process to receive, then one a process to send, or one for all.
std::string MpiExchange::missing(Gathering& gathering) const {
  std::vector<MPI_Request>& requests = gathering.requests;
  std::string names;
  const bool by_process = requests.size() == 2 * size_t{ranks()};
  for (uint32_t r = 0; by_process && r < ranks(); ++r) {
    int received = 0, sent = 0;
    MPI_Test(&requests[r], &received, MPI_STATUS_IGNORE);
    MPI_Test(&requests[ranks() + r], &sent, MPI_STATUS_IGNORE);
    if (received == 0 || sent == 0)
      names += (names.empty() ? "process " : ", process ") + std::to_string(r);
  }
  return names.empty() ? "some of the " + std::to_string(ranks()) + " processes" : names;
}

// Each sends to each, so that who has not come is known by name. Requests to receive come first.
void MpiExchange::swap(std::unique_ptr<Gathering>& gathering, int tag, const void* mine,
                       uint64_t bytes, const std::function<std::span<std::byte>(uint32_t)>& from) {
  Gathering& g = *gathering;
  g.requests.assign(2 * size_t{ranks()}, MPI_REQUEST_NULL);
  const auto start = [&](int error, const char* call) {
    if (error == MPI_SUCCESS) return;
    session_.failed_ = true;
    static_cast<void>(gathering.release());
    check(error, call);
  };
  for (uint32_t r = 0; r < ranks(); ++r) {
    const std::span<std::byte> into = from(r);
    start(MPI_Irecv(into.data(), static_cast<int>(into.size()), MPI_BYTE, static_cast<int>(r), tag,
                    connection_->comm, &g.requests[r]),
          "MPI_Irecv");
  }
  for (uint32_t r = 0; r < ranks(); ++r) {
    start(MPI_Isend(mine, static_cast<int>(bytes), MPI_BYTE, static_cast<int>(r), tag,
                    connection_->comm, &g.requests[ranks() + r]),
          "MPI_Isend");
  }
  finish(gathering, "all_gather");
}

std::vector<std::vector<std::byte>> MpiExchange::all_gather(std::span<const std::byte> mine) {
  constexpr int kSizes = 0, kBytes = 1;  // tags
  if (session_.failed_) throw BackendError("all_gather: an exchange has failed before");
  auto gathering = std::make_unique<Gathering>();
  Gathering& g = *gathering;
  g.mine.assign(mine.begin(), mine.end());
  g.bytes = mine.size();
  g.sizes.resize(ranks());
  swap(gathering, kSizes, &g.bytes, sizeof(g.bytes),
       [&](uint32_t r) { return std::as_writable_bytes(std::span(&g.sizes[r], 1)); });
  uint64_t total = 0;
  for (const uint64_t size : g.sizes) {
    // Everybody sees the same sizes, so nobody goes on alone.
    if (size > INT_MAX - total) throw BackendError("all_gather: more than 2 GiB in all");
    total += size;
    g.all.emplace_back(size);
  }
  swap(gathering, kBytes, g.mine.data(), g.bytes, [&](uint32_t r) { return std::span(g.all[r]); });
  return std::move(g.all);
}

}  // namespace ringer::mpi
