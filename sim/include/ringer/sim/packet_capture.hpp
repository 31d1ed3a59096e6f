// SPDX-License-Identifier: Apache-2.0
// What NICs send, as packets of RoCE v2 in a pcapng file.
#pragma once

#include <cstdint>
#include <string>

namespace ringer::sim {

/// An empty capture at `path`. Errors: BackendError.
void begin_capture(const std::string& path);

/// One of the writers of a capture that has been begun; they may be in several processes. Calls no
/// function of the C library that a preloaded front-end takes over.
class PacketCapture {
 public:
  /// If the file cannot be opened, nothing is written.
  explicit PacketCapture(const char* path);
  ~PacketCapture();
  PacketCapture(const PacketCapture&) = delete;
  PacketCapture& operator=(const PacketCapture&) = delete;

  /// A packet as it lies in a link.
  void write(const uint8_t* packet);

 private:
  int file_;
};

}  // namespace ringer::sim
