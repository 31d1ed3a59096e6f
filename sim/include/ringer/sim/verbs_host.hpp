// SPDX-License-Identifier: Apache-2.0
// The emulated NICs of one process, linked to those of the user's other processes on this host.
#pragma once

#include <cstdint>
#include <memory>

#include <ringer/sim/nic.hpp>

namespace ringer::sim {

/// Owns the NICs, their links and the thread that runs them. Queue pair numbers carry the process,
/// so that (lid, qpn) finds its way without a directory: nothing lies in a file system.
class VerbsHost {
 public:
  /// `nics` of them, numbered from 0. What they send goes to a `capture` that has been begun, if
  /// one is named. Errors: BackendError when the user has too many processes.
  explicit VerbsHost(uint32_t nics, const char* capture = nullptr);
  ~VerbsHost();
  VerbsHost(const VerbsHost&) = delete;
  VerbsHost& operator=(const VerbsHost&) = delete;

  static constexpr uint32_t kMaxNics = 32;
  static constexpr uint32_t kMaxPorts = 4;
  /// `port` counts from 1.
  static constexpr uint16_t lid_of(uint32_t nic, uint32_t port) {
    return static_cast<uint16_t>(nic * kMaxPorts + port);
  }

  Nic& nic(uint32_t number);

  /// A turn of the engine on the caller's thread, unless another thread is at it. For whoever is
  /// about to look for completions: he need not wait for the NIC's own thread. Returns at once.
  void drive();
  /// After fork(), in the child: its NICs are the parent's and are never touched again.
  void abandon();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ringer::sim
