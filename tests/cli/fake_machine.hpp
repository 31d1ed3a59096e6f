// SPDX-License-Identifier: Apache-2.0
// A directory that looks like the /sys, /dev and /proc of some machine.
#pragma once

#include <filesystem>
#include <string>

#include "cli_support.hpp"

namespace ringer::test {

class FakeMachine {
 public:
  const std::filesystem::path& root() const { return directory_.path(); }

  void add_file(const std::string& name, const std::string& text = "") {
    directory_.write(name, text);
  }
  /// As the kernel shows a PCI device: `device/driver` links to its driver.
  void add_hardware_nic(const std::string& name, const std::string& driver) {
    const std::string device = "sys/class/infiniband/" + name + "/device";
    std::filesystem::create_directories(root() / device);
    std::filesystem::create_symlink("../../../../bus/pci/drivers/" + driver,
                                    root() / device / "driver");
  }
  /// As rdma_rxe shows itself: no `device`, but the name of its Ethernet parent.
  void add_software_nic(const std::string& name) {
    add_file("sys/class/infiniband/" + name + "/parent", "eth0\n");
  }

 private:
  TemporaryDirectory directory_;
};

}  // namespace ringer::test
