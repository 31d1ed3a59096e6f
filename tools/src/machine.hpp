// SPDX-License-Identifier: Apache-2.0
// What this machine is and has, as far as it decides what Ringer can run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace ringer::tools {

struct RdmaDevice {
  std::string name;
  std::string driver;  ///< "mlx5_core", "rdma_rxe", ... or "unknown"
};

struct MachineFacts {
  std::vector<RdmaDevice> rdma;
  uint32_t uverbs = 0;        ///< /dev/infiniband/uverbs* nodes
  uint32_t nvidia_nodes = 0;  ///< /dev/nvidia0, /dev/nvidia1, ...
  bool libibverbs = false;
  bool libmlx5 = false;
  bool libcuda = false;
  uint32_t gpus = 0;
  std::string gpu_trouble;  ///< why the GPUs could not be counted; empty if they were
  uint32_t cpus = 0;
  uint64_t memory_bytes = 0;
  uint64_t available_bytes = 0;
  uint64_t page_bytes = 0;
  uint64_t hugepages = 0;
  uint64_t hugepage_bytes = 0;
};

/// What the dynamic linker has to say; replaced when a recorded tree is probed.
struct Libraries {
  std::function<bool(const char* soname)> loadable;
  /// Number of GPUs; `trouble` says why it is 0 if that is not because there are none.
  std::function<uint32_t(std::string& trouble)> count_gpus;
};
Libraries real_libraries();
/// For trees recorded elsewhere: a library is there if <root>/usr/lib has it, and GPUs are what
/// <root>/proc/driver/nvidia/gpus lists.
Libraries recorded_libraries(const std::filesystem::path& root);

/// Where to look: / and its linker, or the tree that RINGER_INFO_ROOT names.
struct MachineRoot {
  std::filesystem::path path;
  Libraries libraries;
};
inline constexpr const char* kMachineRootVariable = "RINGER_INFO_ROOT";
/// Throws UsageError if the variable names no directory.
MachineRoot machine_root();
/// A tree that was recorded somewhere, whether it is there or not.
MachineRoot recorded_root(const std::filesystem::path& root);

/// Reads /sys, /dev and /proc below `root`. What cannot be read counts as absent.
MachineFacts probe_machine(const std::filesystem::path& root, const Libraries& libraries);

/// Of a directory in /sys/class/infiniband: "mlx5_core", "rdma_rxe", ... or "unknown".
std::string driver_of(const std::filesystem::path& device);

/// Memory that a process can still get: what the kernel or the control group leaves. 0 = unknown.
uint64_t available_memory(const std::filesystem::path& root);

/// What this build has besides the software NIC.
struct BuildParts {
  bool cuda = false;
  bool verbs = false;  ///< the backends mlx5 and verbs
};
BuildParts build_parts();

/// One thing that might run here.
struct Verdict {
  std::string name;
  std::string what;
  bool runs = false;
  std::string reason;  ///< why not, or with what
};

std::vector<Verdict> judge_backends(const MachineFacts& facts);
std::vector<Verdict> judge_tiers(const MachineFacts& facts);
/// How ranks may be spread over processes; `mpi` is what this build has, or "".
std::vector<Verdict> judge_groups(const std::string& mpi);

}  // namespace ringer::tools
