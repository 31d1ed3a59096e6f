// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>

#include "doctor_facts.hpp"
#include "machine_files.hpp"

namespace ringer::tools {

namespace fs = std::filesystem;

namespace {

// "NVRM version: NVIDIA UNIX [Open ]Kernel Module ...  550.54.15  ..."
void read_driver_version(const fs::path& root, NvidiaDriver& driver) {
  const auto line = field(root / "proc/driver/nvidia/version", "NVRM version:");
  if (!line) return;
  driver.open = line->find("Open Kernel Module") != std::string::npos;
  driver.version = "unknown";
  std::istringstream words(*line);
  for (std::string word; words >> word;) {
    if (!leading_number(word) || word.find('.') == std::string::npos) continue;
    driver.version = word;
    return;
  }
}

NvidiaDriver probe_driver(const fs::path& root) {
  NvidiaDriver driver;
  read_driver_version(root, driver);
  const fs::path params = root / "proc/driver/nvidia/params";
  driver.params = first_line(params).has_value();
  driver.registry_dwords = field(params, "RegistryDwords:").value_or("");
  driver.stream_mem_ops = field(params, "EnableStreamMemOPs:") == "1";
  for (const char* module : {"nvidia_peermem", "nv_peer_mem"}) {
    const fs::path loaded = root / "sys/module" / module;
    std::error_code error;
    if (!driver.peermem.empty() || !fs::exists(loaded, error)) continue;
    const auto version = first_line(loaded / "version");
    driver.peermem = module + (version ? " " + *version : "");
  }
  std::error_code error;
  driver.gdrcopy = fs::exists(root / "dev/gdrdrv", error);
  return driver;
}

// "0-3,8": five.
uint32_t count_listed(const std::string& list) {
  uint64_t count = 0;
  std::istringstream ranges(list);
  for (std::string range; std::getline(ranges, range, ',');) {
    const auto first = leading_number(range);
    const size_t dash = range.find('-');
    const auto last = dash == std::string::npos ? first : leading_number(range.substr(dash + 1));
    if (first && last && *last >= *first) count += *last - *first + 1;
  }
  return static_cast<uint32_t>(count);
}

// "<quota> <period>" in version 2, a file each in version 1; "max" and "-1" are no limit.
std::optional<double> cpu_quota(const fs::path& root) {
  const fs::path groups = root / "sys/fs/cgroup";
  std::optional<uint64_t> quota = first_number(groups / "cpu/cpu.cfs_quota_us");
  std::optional<uint64_t> period = first_number(groups / "cpu/cpu.cfs_period_us");
  if (const auto line = first_line(groups / "cpu.max")) {
    quota = leading_number(*line);
    period = leading_number(line->substr(line->find(' ') + 1));
  }
  if (!quota || !period || *period == 0) return std::nullopt;
  return static_cast<double>(*quota) / static_cast<double>(*period);
}

std::optional<uint64_t> soft_limit(const fs::path& root, const char* name) {
  const auto values = field(root / "proc/self/limits", name);
  if (!values) return std::nullopt;
  return values->starts_with("unlimited") ? kUnlimited : leading_number(*values);
}

// A tmpfs without a size has half of the memory.
std::optional<uint64_t> shm_bytes(const fs::path& root, uint64_t memory_bytes) {
  std::ifstream mounts(root / "proc/self/mounts");
  std::string device, where, type, options, rest;
  std::optional<uint64_t> bytes;
  while (mounts >> device >> where >> type >> options && std::getline(mounts, rest)) {
    if (where != "/dev/shm") continue;
    const size_t size = options.find("size=");
    const auto kib =
        size == std::string::npos ? std::nullopt : leading_number(options.substr(size + 5));
    bytes = kib ? *kib * 1024 : memory_bytes / 2;
  }
  return bytes;
}

ProcessLimits probe_limits(const fs::path& root, const MachineFacts& machine) {
  constexpr uint32_t kCapIpcLock = 14;
  ProcessLimits limits;
  limits.memlock_bytes = soft_limit(root, "Max locked memory");
  limits.open_files = soft_limit(root, "Max open files");
  limits.shm_bytes = shm_bytes(root, machine.memory_bytes);
  const fs::path status = root / "proc/self/status";
  limits.cpus = count_listed(field(status, "Cpus_allowed_list:").value_or(""));
  const std::string capabilities = field(status, "CapEff:").value_or("");
  uint64_t effective = 0;
  std::from_chars(capabilities.data(), capabilities.data() + capabilities.size(), effective, 16);
  limits.ipc_lock = (effective >> kCapIpcLock & 1) != 0;
  limits.cpu_quota = cpu_quota(root);
  return limits;
}

// libmlx5-rdmav34.so and its like, where libibverbs looks for them.
bool has_provider(const fs::path& root, const std::string& name) {
  std::vector<fs::path> places = entries(root / "usr/lib");
  places.push_back(root / "usr/lib");
  places.push_back(root / "usr/lib64");
  return std::any_of(places.begin(), places.end(), [&](const fs::path& place) {
    const auto files = entries(place / "libibverbs");
    return std::any_of(files.begin(), files.end(), [&](const fs::path& file) {
      return file.filename().string().starts_with("lib" + name + "-rdmav");
    });
  });
}

}  // namespace

NodeFacts probe_node(const MachineRoot& machine_root) {
  const fs::path& root = machine_root.path;
  std::error_code error;
  NodeFacts facts;
  facts.machine = probe_machine(root, machine_root.libraries);
  facts.probed = fs::exists(root / "proc", error) || fs::exists(root / "sys", error);
  facts.kernel = first_line(root / "proc/sys/kernel/osrelease").value_or("");
  probe_pci(root, facts);
  facts.hcas = probe_hcas(root);
  facts.driver = probe_driver(root);
  facts.mlx5_provider = has_provider(root, "mlx5");
  facts.rxe_module =
      fs::exists(root / "sys/module/rdma_rxe", error) ||
      fs::exists(root / "lib/modules" / facts.kernel / "kernel/drivers/infiniband/sw/rxe", error);
  facts.iommu = !entries(root / "sys/class/iommu").empty();
  const std::string command_line = first_line(root / "proc/cmdline").value_or("");
  facts.iommu_passthrough = command_line.find("iommu=pt") != std::string::npos ||
                            command_line.find("iommu.passthrough=1") != std::string::npos;
  facts.numa_balancing = first_number(root / "proc/sys/kernel/numa_balancing").value_or(0) != 0;
  facts.limits = probe_limits(root, facts.machine);
  return facts;
}

}  // namespace ringer::tools
