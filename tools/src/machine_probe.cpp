// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <string_view>
#include <thread>

#include <dlfcn.h>
#include <unistd.h>

#include "machine.hpp"
#include "machine_files.hpp"
#include "routing.hpp"

namespace ringer::tools {

namespace fs = std::filesystem;

namespace {

// The number behind `name` in a file of "name number" lines.
std::optional<uint64_t> named_number(const fs::path& file, const std::string& name) {
  std::ifstream in(file);
  std::string word;
  uint64_t value = 0;
  while (in >> word >> value) {
    if (word == name) return value;
  }
  return std::nullopt;
}

uint32_t count_numbered(const fs::path& directory, std::string_view prefix) {
  uint32_t count = 0;
  for (const fs::path& entry : entries(directory)) {
    count += is_numbered(entry.filename().string(), prefix) ? 1 : 0;
  }
  return count;
}

uint64_t meminfo_bytes(const fs::path& root, std::string_view key) {
  return leading_number(field(root / "proc/meminfo", key).value_or("")).value_or(0) * 1024;
}

void count_hugepages(const fs::path& root, MachineFacts& facts) {
  for (const fs::path& size : entries(root / "sys/kernel/mm/hugepages")) {
    const uint64_t pages = first_number(size / "nr_hugepages").value_or(0);
    std::string name = size.filename().string();  // hugepages-2048kB
    name.erase(0, name.find('-') + 1);
    facts.hugepages += pages;
    facts.hugepage_bytes += pages * leading_number(name).value_or(0) * 1024;
  }
}

// The driver API by hand: no header and no link dependency, since most machines lack it.
uint32_t count_gpus_by_driver(std::string& trouble) {
  void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    trouble = "no libcuda.so.1";
    return 0;
  }
  using Init = int (*)(unsigned);
  using Count = int (*)(int*);
  const auto init = reinterpret_cast<Init>(dlsym(library, "cuInit"));
  const auto count = reinterpret_cast<Count>(dlsym(library, "cuDeviceGetCount"));
  int gpus = 0;
  if (init == nullptr || count == nullptr) {
    trouble = "libcuda.so.1 lacks cuInit or cuDeviceGetCount";
  } else if (const int error = init(0); error != 0) {
    trouble = "cuInit fails with CUDA error " + std::to_string(error);
  } else if (const int no_count = count(&gpus); no_count != 0) {
    trouble = "cuDeviceGetCount fails with CUDA error " + std::to_string(no_count);
  }
  // Left loaded: the driver keeps threads that must not lose their code.
  return trouble.empty() ? static_cast<uint32_t>(gpus) : 0;
}

}  // namespace

// A software device has no `device`; rdma_rxe is the one that names its Ethernet `parent`.
std::string driver_of(const fs::path& device) {
  std::error_code error;
  const fs::path driver = fs::read_symlink(device / "device" / "driver", error);
  if (!error) return driver.filename().string();
  if (fs::exists(device / "parent", error)) return "rdma_rxe";
  return "unknown";
}

Libraries real_libraries() {
  // Left loaded, as some are not made to be unloaded.
  const auto loadable = [](const char* soname) {
    return dlopen(soname, RTLD_LAZY | RTLD_LOCAL) != nullptr;
  };
  return {loadable, count_gpus_by_driver};
}

Libraries recorded_libraries(const fs::path& root) {
  const auto loadable = [root](const char* soname) {
    std::error_code error;
    return fs::exists(root / "usr/lib" / soname, error);
  };
  const auto count = [root, loadable](std::string& trouble) -> uint32_t {
    if (!loadable("libcuda.so.1")) {
      trouble = "no libcuda.so.1";
      return 0;
    }
    return static_cast<uint32_t>(entries(root / "proc/driver/nvidia/gpus").size());
  };
  return {loadable, count};
}

MachineRoot machine_root() {
  const char* root = std::getenv(kMachineRootVariable);
  if (root == nullptr || *root == '\0') return {"/", real_libraries()};
  if (!fs::is_directory(root)) {
    throw UsageError(std::string(kMachineRootVariable) + ": '" + root + "' is not a directory");
  }
  return recorded_root(root);
}

MachineRoot recorded_root(const fs::path& root) { return {root, recorded_libraries(root)}; }

uint64_t available_memory(const fs::path& root) {
  uint64_t available = meminfo_bytes(root, "MemAvailable:");
  const fs::path groups = root / "sys/fs/cgroup";
  struct GroupFiles {
    const char *limit, *used, *statistics, *cache;
  };
  // Version 2, then version 1; "max" and absent files are no number and no limit.
  for (const GroupFiles& files :
       {GroupFiles{"memory.max", "memory.current", "memory.stat", "inactive_file"},
        GroupFiles{"memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes",
                   "memory/memory.stat", "total_inactive_file"}}) {
    const std::optional<uint64_t> limit = first_number(groups / files.limit);
    const std::optional<uint64_t> used = first_number(groups / files.used);
    if (!limit || !used) continue;
    // The page cache counts as used and is given up on demand.
    const uint64_t cache = named_number(groups / files.statistics, files.cache).value_or(0);
    const uint64_t held = *used > cache ? *used - cache : 0;
    const uint64_t left = *limit > held ? *limit - held : 0;
    available = available == 0 ? left : std::min(available, left);
  }
  return available;
}

MachineFacts probe_machine(const fs::path& root, const Libraries& libraries) {
  MachineFacts facts;
  for (const fs::path& device : entries(root / "sys/class/infiniband")) {
    facts.rdma.push_back({device.filename().string(), driver_of(device)});
  }
  facts.uverbs = count_numbered(root / "dev/infiniband", "uverbs");
  facts.nvidia_nodes = count_numbered(root / "dev", "nvidia");
  facts.libibverbs = libraries.loadable("libibverbs.so.1");
  facts.libmlx5 = libraries.loadable("libmlx5.so.1");
  facts.libcuda = libraries.loadable("libcuda.so.1");
  facts.gpus = libraries.count_gpus(facts.gpu_trouble);
  facts.cpus = std::thread::hardware_concurrency();
  facts.memory_bytes = meminfo_bytes(root, "MemTotal:");
  facts.available_bytes = available_memory(root);
  facts.page_bytes = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  count_hugepages(root, facts);
  return facts;
}

}  // namespace ringer::tools
