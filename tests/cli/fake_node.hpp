// SPDX-License-Identifier: Apache-2.0
// Trees as nodes of a cluster have them: PCI devices, RDMA ports, the NVIDIA driver, limits.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "fake_machine.hpp"

namespace ringer::test {

/// A configuration space with an ACS capability (at 0x140, behind another) and a device control
/// register, as Linux shows it to root.
inline std::string pci_config(uint8_t acs_control, uint16_t device_control) {
  std::string bytes(4096, '\0');
  const auto put = [&](size_t at, uint32_t value, size_t size) {
    for (size_t i = 0; i < size; ++i) bytes[at + i] = static_cast<char>(value >> (8 * i));
  };
  put(0x34, 0x40, 1);
  put(0x40, 0x6001, 2);  // power management, next at 0x60
  put(0x60, 0x0010, 2);  // PCI Express
  put(0x68, device_control, 2);
  put(0x100, 0x14010001, 4);  // error reporting, next at 0x140
  put(0x140, 0x0001000d, 4);
  put(0x146, acs_control, 2);
  return bytes;
}

class FakeNode : public FakeMachine {
 public:
  static constexpr uint16_t kGoodControl = 5 << 12 | 0x10;  // 4096 bytes, relaxed ordering

  /// `path` begins at the host bridge. Bridges on it get a configuration space without redirection.
  void add_pci_device(const std::string& path, const std::string& vendor, const std::string& type,
                      int numa_node) {
    const std::string directory = "sys/devices/" + path + "/";
    const std::string address = path.substr(path.rfind('/') + 1);
    add_file(directory + "vendor", vendor + "\n");
    add_file(directory + "class", type + "\n");
    add_file(directory + "numa_node", std::to_string(numa_node) + "\n");
    add_file(directory + "config", pci_config(0, kGoodControl));
    for (const auto& [name, value] :
         {std::pair{"link_speed", "32.0 GT/s PCIe\n"}, std::pair{"link_width", "16\n"}}) {
      add_file(directory + "current_" + name, value);
      add_file(directory + "max_" + name, value);
    }
    for (size_t at = path.rfind('/'); at != path.find('/'); at = path.rfind('/', at - 1)) {
      add_file("sys/devices/" + path.substr(0, at) + "/config", pci_config(0, kGoodControl));
    }
    link("sys/bus/pci/devices/" + address, "../../../devices/" + path);
  }
  void add_gpu(const std::string& path, int numa_node) {
    add_pci_device(path, "0x10de", "0x030200", numa_node);
    add_file("proc/driver/nvidia/gpus/" + path.substr(path.rfind('/') + 1) + "/information");
  }
  /// A RoCE port that is up, with an IPv4 address, MTU 9000, and a uverbs node that opens.
  void add_mlx5(const std::string& name, const std::string& path, int numa_node) {
    add_pci_device(path, "0x15b3", "0x020700", numa_node);
    const std::string device = "sys/class/infiniband/" + name;
    link(device + "/device", "../../../devices/" + path);
    link("sys/devices/" + path + "/driver", "/sys/bus/pci/drivers/mlx5_core");
    add_file(device + "/fw_ver", "28.39.1002\n");
    add_file(device + "/hca_type", "MT4129\n");
    add_roce_port(name);
  }
  void add_rxe(const std::string& name) {
    add_software_nic(name);
    add_roce_port(name);
  }
  static std::string port(const std::string& name) {
    return "sys/class/infiniband/" + name + "/ports/1/";
  }
  void add_gid(const std::string& name, const std::string& index, const std::string& gid,
               const std::string& type) {
    add_file(port(name) + "gids/" + index, gid + "\n");
    add_file(port(name) + "gid_attrs/types/" + index, type + "\n");
    add_file(port(name) + "gid_attrs/ndevs/" + index, "net_" + name + "\n");
  }
  void remove(const std::string& name) { std::filesystem::remove_all(root() / name); }
  void set_memlock(const std::string& limit) {
    add_file("proc/self/limits",
             "Limit                     Soft Limit           Hard Limit           Units\n"
             "Max open files            65536                65536                files\n"
             "Max locked memory         " +
                 limit + "            unlimited            bytes\n");
  }

 private:
  void add_roce_port(const std::string& name) {
    add_file(port(name) + "state", "4: ACTIVE\n");
    add_file(port(name) + "phys_state", "5: LinkUp\n");
    add_file(port(name) + "rate", "400 Gb/sec (4X NDR)\n");
    add_file(port(name) + "link_layer", "Ethernet\n");
    add_file(port(name) + "pkeys/0", "0xffff\n");
    add_file("sys/class/net/net_" + name + "/mtu", "9000\n");
    const std::string local = "fe80:0000:0000:0000:0ac0:ebff:fe12:3456";
    const std::string mapped = "0000:0000:0000:0000:0000:ffff:0a00:0001";
    add_gid(name, "0", local, "IB/RoCE v1");
    add_gid(name, "1", local, "RoCE v2");
    add_gid(name, "2", mapped, "IB/RoCE v1");
    add_gid(name, "3", mapped, "RoCE v2");
    add_gid(name, "10", "0000:0000:0000:0000:0000:0000:0000:0000", "");
    const std::string uverbs = "uverbs" + std::to_string(uverbs_++);
    add_file("sys/class/infiniband_verbs/" + uverbs + "/ibdev", name + "\n");
    add_file("dev/infiniband/" + uverbs);
  }
  void link(const std::string& name, const std::string& target) {
    std::filesystem::create_directories((root() / name).parent_path());
    std::filesystem::create_symlink(target, root() / name);
  }

  int uverbs_ = 0;
};

/// Two sockets, each with an H100 and a ConnectX-7 below one switch; nothing to complain about.
class H100Node : public FakeNode {
 public:
  static constexpr const char* kSwitch = "pci0000:15/0000:15:01.0/0000:16:00.0";

  H100Node() {
    add_gpu(std::string(kSwitch) + "/0000:17:00.0/0000:18:00.0", 0);
    add_mlx5("mlx5_1", std::string(kSwitch) + "/0000:17:01.0/0000:19:00.0", 0);
    add_gpu("pci0000:8a/0000:8a:01.0/0000:8b:00.0/0000:8c:00.0/0000:8d:00.0", 1);
    add_mlx5("mlx5_0", "pci0000:8a/0000:8a:01.0/0000:8b:00.0/0000:8c:01.0/0000:8e:00.0", 1);
    add_file("proc/driver/nvidia/version",
             "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.15  Release Build\n"
             "GCC version:  gcc version 12.2.0\n");
    add_file("proc/driver/nvidia/params",
             "ResmanDebugLevel: 4294967295\nEnableStreamMemOPs: 0\n"
             "RegistryDwords: \"PeerMappingOverride=1;\"\nRegistryDwordsPerDevice: \"\"\n");
    add_file("sys/module/nvidia_peermem/version", "550.54.15\n");
    add_file("proc/sys/kernel/osrelease", "5.15.0-105-generic\n");
    for (const char* library : {"libcuda.so.1", "libibverbs.so.1", "libmlx5.so.1"}) {
      add_file(std::string("usr/lib/") + library);
    }
    add_file("proc/self/status", "CapEff:\t0000000000000000\nCpus_allowed_list:\t0-47,96-143\n");
    add_file("proc/self/mounts", "tmpfs /dev/shm tmpfs rw,nosuid,size=16777216k 0 0\n");
    set_memlock("unlimited");
  }
};

}  // namespace ringer::test
