// SPDX-License-Identifier: Apache-2.0
// What this process may use, and what this build can.
#include <algorithm>

#include <fmt/format.h>

#include "doctor.hpp"

namespace ringer::tools {

namespace {

using Findings = std::vector<Finding>;

constexpr uint64_t kMiB = 1 << 20;
// Rings and windows of one small group; below this not even a test fits.
constexpr uint64_t kLeastMemlock = 64 * kMiB;
constexpr uint64_t kEnoughShm = 1024 * kMiB;
constexpr uint64_t kEnoughFiles = 4096;
// One that launches kernels, one that serves the host proxy.
constexpr uint32_t kCpusPerGpu = 2;

std::string mebibytes(uint64_t bytes) {
  return bytes < kMiB ? fmt::format("{} KiB", bytes / 1024) : fmt::format("{} MiB", bytes / kMiB);
}

void judge_memlock(const ProcessLimits& limits, Findings& findings) {
  if (!limits.memlock_bytes) return;
  const uint64_t bytes = *limits.memlock_bytes;
  const std::string limit = bytes == kUnlimited ? "unlimited" : mebibytes(bytes);
  if (bytes == kUnlimited || limits.ipc_lock) {
    findings.push_back(
        {"limit.memlock", "", Level::ok,
         "locked memory: " + limit + (bytes == kUnlimited ? "" : ", which CAP_IPC_LOCK overrides"),
         "", 0});
    return;
  }
  const bool enough = bytes >= kLeastMemlock;
  findings.push_back({"limit.memlock", "", enough ? Level::note : Level::problem,
                      "locked memory: " + limit + ", which bounds what a NIC can register",
                      "'* - memlock unlimited' in /etc/security/limits.conf, LimitMEMLOCK=infinity "
                      "for services, --ulimit memlock=-1 for containers",
                      enough ? 0 : kVerbs});
}

void judge_shm(const ProcessLimits& limits, Findings& findings) {
  const bool enough = limits.shm_bytes.value_or(0) >= kEnoughShm;
  findings.push_back(
      {"limit.shm", "", enough ? Level::ok : Level::note,
       limits.shm_bytes ? "/dev/shm has " + mebibytes(*limits.shm_bytes) : "no /dev/shm is mounted",
       enough ? "" : "MPI and NCCL want 1 GiB: --shm-size=1g for containers", 0});
}

void judge_cpus(const NodeFacts& facts, Findings& findings) {
  const ProcessLimits& limits = facts.limits;
  const uint32_t cpus = limits.cpus != 0 ? limits.cpus : facts.machine.cpus;
  const double usable = std::min(static_cast<double>(cpus), limits.cpu_quota.value_or(cpus));
  const auto gpus =
      static_cast<uint32_t>(std::max(facts.gpus.size(), static_cast<size_t>(facts.machine.gpus)));
  const uint32_t wanted = kCpusPerGpu * std::max(gpus, 1U);
  const bool enough = usable >= static_cast<double>(wanted);
  findings.push_back(
      {"cpu.count", "", enough ? Level::ok : Level::note,
       fmt::format("{} CPUs{}", cpus,
                   limits.cpu_quota
                       ? fmt::format(", {:.1f} of them by the control group", *limits.cpu_quota)
                       : ""),
       enough ? ""
              : fmt::format("{} are wanted, so that threads that poll do not wait for each "
                            "other: raise the CPU set or the quota",
                            wanted),
       0});
}

}  // namespace

void judge_process(const NodeFacts& facts, Findings& findings) {
  const ProcessLimits& limits = facts.limits;
  judge_memlock(limits, findings);
  if (limits.open_files) {
    const uint64_t files = *limits.open_files;
    const bool enough = files >= kEnoughFiles;
    findings.push_back(
        {"limit.open_files", "", enough ? Level::ok : Level::note,
         "open files: " + (files == kUnlimited ? "unlimited" : std::to_string(files)),
         enough ? "" : "ulimit -n 65536, before groups of many ranks", 0});
  }
  judge_shm(limits, findings);
  findings.push_back({"limit.hugepages", "", Level::ok,
                      fmt::format("{} huge pages (optional)", facts.machine.hugepages), "", 0});
  judge_cpus(facts, findings);
  if (facts.numa_balancing) {
    findings.push_back({"cpu.numa_balancing", "", Level::note,
                        "the kernel moves pages between NUMA nodes",
                        "as root: sysctl kernel.numa_balancing=0, for latency without spikes", 0});
  }
}

void judge_build(const BuildParts& build, Findings& findings) {
  struct Part {
    const char* id;
    const char* name;
    bool built;
    unsigned blocks;
    const char* advice;
  };
  const Part parts[] = {
      {"build.cuda", "CUDA kernels", build.cuda, kGpu, "build with nvcc 12.2 or later on the path"},
      {"build.verbs", "backends mlx5 and verbs", build.verbs, kConnectx | kSoftRoce,
       "install libibverbs-dev and build again"},
  };
  for (const Part& part : parts) {
    findings.push_back(
        {part.id, "", part.built ? Level::ok : Level::missing,
         fmt::format("{}part of this build: {}", part.built ? "" : "not ", part.name),
         part.built ? "" : part.advice, part.built ? 0 : part.blocks});
  }
}

}  // namespace ringer::tools
