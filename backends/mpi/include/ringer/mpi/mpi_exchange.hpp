// SPDX-License-Identifier: Apache-2.0
// Exchange between the processes of an MPI job. The headers of MPI stay out of sight.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include <ringer/control_plane.hpp>

namespace ringer::mpi {

/// Name and version of the MPI library, e.g. "Open MPI v4.1.4".
std::string library_version();

/// MPI, from its initialisation to its end. One a process, at the most; if MPI has been initialised
/// by somebody else, that one ends it, too. MPI may be called by one thread at a time.
class MpiSession {
 public:
  /// Errors: BackendError.
  MpiSession();
  /// Finalises MPI, or ends the whole job, with exit code 1, where other processes may be waiting
  /// for this one: if an exception is under way, or an exchange has failed.
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  uint32_t process() const { return process_; }
  uint32_t processes() const { return processes_; }

  /// Ends all processes of the job, this one with `exit_code`, which mpirun hands on.
  [[noreturn]] void abort(int exit_code) const;

 private:
  friend class MpiExchange;
  bool owner_ = false;
  bool failed_ = false;
  int exceptions_;
  uint32_t process_ = 0;
  uint32_t processes_ = 1;
};

/// The processes of MPI_COMM_WORLD as ranks. All waits end: a process that does not come in time is
/// a BackendError that names it, after which no further gathering works, as that process may come
/// later.
class MpiExchange : public Exchange {
 public:
  /// Collective. Does not outlive the session.
  explicit MpiExchange(MpiSession& session, uint64_t timeout_ns = 60'000'000'000);
  ~MpiExchange() override;
  MpiExchange(const MpiExchange&) = delete;
  MpiExchange& operator=(const MpiExchange&) = delete;

  uint32_t rank() const override { return session_.process(); }
  uint32_t ranks() const override { return session_.processes(); }
  std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> mine) override;
  void lose_patience(uint64_t timeout_ns) override {
    timeout_ns_ = std::min(timeout_ns_, timeout_ns);
  }

 private:
  struct Gathering;
  void finish(std::unique_ptr<Gathering>& gathering, const char* call);
  std::string missing(Gathering& gathering) const;
  void swap(std::unique_ptr<Gathering>& gathering, int tag, const void* mine, uint64_t bytes,
            const std::function<std::span<std::byte>(uint32_t)>& from);

  MpiSession& session_;
  uint64_t timeout_ns_;
  std::unique_ptr<Gathering> connection_;
};

}  // namespace ringer::mpi
