// SPDX-License-Identifier: Apache-2.0
// The files that stand in for sysfs while a command runs under `ringer run`.
#pragma once

#include <cstdint>
#include <filesystem>

#include <ringer/sim/link_address.hpp>

namespace ringer::tools {

/// A directory of its own with the devices' files, gone when this object is. One that a killed run
/// has left behind is removed by the next run of the same user.
class DeviceTree {
 public:
  /// Errors: std::system_error; UsageError if there is no folder for temporary files.
  DeviceTree(uint32_t devices, uint32_t ports, sim::LinkLayer link);
  ~DeviceTree();
  DeviceTree(const DeviceTree&) = delete;
  DeviceTree& operator=(const DeviceTree&) = delete;
  const std::filesystem::path& root() const { return root_; }

 private:
  void remove() noexcept;

  std::filesystem::path root_;
  int lock_ = -1;  // held as long as the run or its command lives, however they end
};

}  // namespace ringer::tools
