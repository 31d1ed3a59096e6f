// SPDX-License-Identifier: Apache-2.0
// Paths that lead to InfiniBand devices, led to the emulated ones.
#pragma once

#include <climits>
#include <cstdint>
#include <optional>

namespace ringer::sim::verbs {

/// A path of the application, and where it leads here: the same path, except that
/// /sys/class/infiniband* and /dev/infiniband lie under RINGER_VERBS_ROOT.
class DevicePath {
 public:
  explicit DevicePath(const char* path);
  const char* get() const { return path_; }
  /// If it names the node of a device, that device's number.
  std::optional<uint32_t> node() const;

 private:
  const char* path_;
  bool led_ = false;
  char text_[PATH_MAX];
};

}  // namespace ringer::sim::verbs
