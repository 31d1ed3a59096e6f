// SPDX-License-Identifier: Apache-2.0
// Two ends of a connection on whatever NICs the backend under test has, and what became of each
// operation between them, in words that can be compared from NIC to NIC.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <ringer/endpoint.hpp>
#include <ringer/host_platform.hpp>
#include <ringer/soft/soft_backend.hpp>

#include "support/catch.hpp"

namespace ringer::test {

/// RINGER_TEST_BACKEND: sim, mlx5 or verbs.
struct NicPair {
  NicPair();
  ~NicPair();
  NicPair(const NicPair&) = delete;
  NicPair& operator=(const NicPair&) = delete;

  /// "sim", "rxe", "verbs" or "mlx5": which of the log's columns this is.
  std::string kind() const;
  Nic& near() { return *nics_[0]; }
  Nic& far() { return *nics_[1]; }

 private:
  sim::Fabric fabric_;
  std::unique_ptr<sim::NicThread> thread_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Nic> nics_[2];
};

/// How one connection differs from a plain one.
struct LinkSetup {
  QueuePairConfig near{64};
  QueuePairConfig far{64};
  uint32_t far_rights = access::all;
  uint32_t near_rights = access::all;
  bool connected = true;
};

/// A connection, with a window at either end.
class Link {
 public:
  using Setup = LinkSetup;
  using Sender = Endpoint<HostPlatform, QueuePolicy<>>;
  static constexpr size_t kWindowBytes = (size_t{1} << 20) + 65536;
  static constexpr size_t kScratchAt = kWindowBytes - 64;  // where old values return

  explicit Link(NicPair& nics, const Setup& setup = {});

  LocalRef local(size_t at = 0) const { return {address(near_, at), near_region_->lkey()}; }
  RemoteRef remote(size_t at = 0) const { return {address(far_, at), far_region_->rkey()}; }
  uint32_t far_key() const { return far_region_->lkey(); }
  uint8_t* near_bytes() { return near_.data(); }
  uint8_t* far_bytes() { return far_.data(); }
  Sender& sender() { return *sender_; }
  QueuePair& near_qp() { return *near_qp_; }
  QueuePair& far_qp() { return *far_qp_; }
  /// An end is no more.
  void remove_near_end() {
    sender_.reset();
    near_qp_.reset();
  }
  void remove_far_end() { far_qp_.reset(); }
  void remove_far_window() { far_region_.reset(); }
  WaitLimit soon() const { return limit_after(HostPlatform{}, kPatienceNs); }
  /// What became of `posted`: "ok", or the status in words, by code and syndrome.
  std::string outcome(const Posted& posted);

 private:
  static constexpr uint64_t kPatienceNs = 60'000'000'000;
  static uint64_t address(const std::vector<uint8_t>& window, size_t at) {
    return reinterpret_cast<uint64_t>(window.data() + at);
  }

  std::vector<uint8_t> near_, far_;
  std::unique_ptr<MemoryRegion> near_region_, far_region_;
  std::unique_ptr<QueuePair> near_qp_, far_qp_;
  DeviceQp view_{};
  std::unique_ptr<Sender> sender_;
};

/// A line of the log, and of the test: on every NIC `operation` ends as the InfiniBand
/// specification has it, but for those of `but`.
struct Deviation {
  const char* kind;  ///< NicPair::kind()
  const char* outcome;
  const char* why;
};
void expect_outcome(const NicPair& nics, const std::string& group, const std::string& operation,
                    const std::string& outcome, const std::string& expected,
                    const std::vector<Deviation>& but = {});

}  // namespace ringer::test
