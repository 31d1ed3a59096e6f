// SPDX-License-Identifier: Apache-2.0
// Windows of ranks in other processes, opened into this one, and the end of the own window that
// they have opened: it must not be released while one of them may still store to it.
#pragma once

#include <cstdint>
#include <vector>

#include <ringer/control_plane.hpp>
#include <ringer/kernel_memory.hpp>

namespace ringer::ep {

/// Beside its window each rank shares a board in host memory, with a word for every rank, in which
/// that says that it has closed the window. So leaving needs no exchange, and a rank that is gone
/// costs no more than a time limit.
class PeerWindows {
 public:
  /// What peers need, as plain bytes.
  struct Handles {
    WindowHandle window;
    WindowHandle board;
  };

  PeerWindows(KernelMemory& memory, KernelArray<uint8_t>& window, uint32_t rank, uint32_t ranks,
              uint64_t timeout_ns);
  /// Closes all, then waits until all peers have closed the own window. If they do not in time, the
  /// window stays allocated until the process ends.
  ~PeerWindows();
  PeerWindows(const PeerWindows&) = delete;
  PeerWindows& operator=(const PeerWindows&) = delete;

  Handles share();
  /// Maps the window of `peer`, who opens ours as well.
  uint8_t* open(uint32_t peer, const Handles& handles);
  /// Closes all that are open, and says so to their owners. No kernel of this rank may run.
  void close() noexcept;
  /// Nobody has to be waited for: all ranks have closed, or have never opened.
  void forget_peers() { peers_.clear(); }

 private:
  bool has_closed(uint32_t peer) const;

  struct Opened {
    void* window;
    void* board;
  };
  KernelMemory& memory_;
  KernelArray<uint8_t>& window_;
  KernelArray<uint64_t> board_;  // of whoever has opened ours, by rank: has it closed it?
  uint32_t rank_;
  uint64_t timeout_ns_;
  std::vector<Opened> opened_;
  std::vector<uint32_t> peers_;  // that open ours
};

}  // namespace ringer::ep
