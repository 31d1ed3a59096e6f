// SPDX-License-Identifier: Apache-2.0
// What a node has for GPU-initiated RDMA, as its file tree says it. No judgement here.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "machine.hpp"

namespace ringer::tools {

/// ACS of a bridge. `redirects`: requests or completions between devices below it take the way
/// over the root complex.
enum class Acs { unknown, absent, off, redirects };

/// Of a PCI Express device's control register.
struct PciControl {
  uint32_t max_read_request_bytes = 0;
  bool relaxed_ordering = false;
};

struct PciDevice {
  /// From the host bridge ("pci0000:15") down to the device itself ("0000:18:00.0").
  std::vector<std::string> path;
  std::optional<uint32_t> numa_node;
  std::string link;      ///< "32.0 GT/s PCIe x16", as negotiated; empty if unknown
  std::string link_max;  ///< what the device can
  std::optional<PciControl> control;

  std::string address() const { return path.empty() ? "" : path.back(); }
};

struct Gid {
  uint32_t index = 0;
  std::array<uint8_t, 16> bytes{};
  std::string text;
  std::string type;  ///< "RoCE v2", "IB/RoCE v1"
};

struct RdmaPort {
  uint32_t number = 0;
  std::string state;           ///< "ACTIVE", "DOWN", ...
  std::string physical_state;  ///< "LinkUp", "Disabled", "Polling", ...
  std::string rate;
  std::string link_layer;  ///< "Ethernet" or "InfiniBand"
  std::string pkey;        ///< at index 0
  std::string netdev;
  std::optional<uint32_t> netdev_mtu;
  std::vector<Gid> gids;  ///< those that are not zero, by index
};

struct Hca {
  std::string name;
  std::string driver;
  std::string firmware;
  std::string type;            ///< "MT4129"
  std::string uverbs;          ///< "uverbs0"; empty if the kernel has none for it
  std::string uverbs_trouble;  ///< why it cannot be opened; empty if it can
  PciDevice pci;               ///< without a path for a software device
  std::vector<RdmaPort> ports;
};

struct NvidiaDriver {
  std::string version;  ///< empty: not loaded
  bool open = false;    ///< the open kernel modules
  bool params = false;  ///< its parameters could be read
  std::string registry_dwords;
  bool stream_mem_ops = false;
  std::string peermem;  ///< "nvidia_peermem 550.54.15"; empty if not loaded
  bool gdrcopy = false;
};

struct ProcessLimits {
  std::optional<uint64_t> memlock_bytes;  ///< kUnlimited if there is none
  bool ipc_lock = false;                  ///< CAP_IPC_LOCK: memlock does not count
  std::optional<uint64_t> open_files;
  std::optional<uint64_t> shm_bytes;  ///< size of /dev/shm
  uint32_t cpus = 0;                  ///< that this process may run on
  std::optional<double> cpu_quota;    ///< CPUs that the control group grants
};
inline constexpr uint64_t kUnlimited = ~uint64_t{0};

struct NodeFacts {
  MachineFacts machine;
  bool probed = false;  ///< there was a /proc or a /sys
  std::string kernel;   ///< "5.15.0-105-generic"
  std::vector<PciDevice> gpus;
  std::vector<PciDevice> mellanox;  ///< their network functions, with or without an RDMA device
  std::vector<Hca> hcas;
  std::map<std::string, Acs> bridges;  ///< those above GPUs and HCAs, by address
  NvidiaDriver driver;
  bool mlx5_provider = false;
  bool rxe_module = false;  ///< loaded, or there for this kernel
  bool iommu = false;
  bool iommu_passthrough = false;
  bool numa_balancing = false;
  ProcessLimits limits;
};

/// Reads /sys, /dev and /proc below the root. What cannot be read is absent or unknown.
NodeFacts probe_node(const MachineRoot& root);

/// Its parts, each in a file of its own.
void probe_pci(const std::filesystem::path& root, NodeFacts& facts);
/// `sysfs`: a device's directory, or a link to it. Without a path if that is no PCI device.
PciDevice read_pci_device(const std::filesystem::path& sysfs);
std::vector<Hca> probe_hcas(const std::filesystem::path& root);

/// What a configuration space says, as far as it could be read: more than 64 bytes take root.
Acs acs_of(const std::string& config);
std::optional<PciControl> control_of(const std::string& config);

}  // namespace ringer::tools
