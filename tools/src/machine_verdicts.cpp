// SPDX-License-Identifier: Apache-2.0
#include "machine.hpp"

namespace ringer::tools {

namespace {

constexpr const char* kNotBuilt = "not part of this build";
#if defined(RINGER_WITH_CUDA)
constexpr bool kWithCuda = true;
#else
constexpr bool kWithCuda = false;
#endif
#if defined(RINGER_WITH_VERBS)
constexpr bool kWithVerbs = true;
#else
constexpr bool kWithVerbs = false;
#endif

std::string devices_with(const MachineFacts& facts, const std::string& driver) {
  std::string names;
  for (const RdmaDevice& device : facts.rdma) {
    if (driver.empty() || device.driver == driver)
      names += (names.empty() ? "" : ", ") + device.name;
  }
  return names;
}

std::string found(const std::string& what, const std::string& names) {
  return names.empty() ? "no " + what : what + " " + names;
}

std::string uverbs_text(const MachineFacts& facts) {
  return facts.uverbs == 0 ? "no /dev/infiniband/uverbs*"
                           : std::to_string(facts.uverbs) + " uverbs nodes";
}

std::string library(const char* name, bool loadable) {
  return loadable ? std::string(name) + " loads" : std::string("no ") + name;
}

std::string gpu_text(const MachineFacts& facts) {
  if (!facts.gpu_trouble.empty()) return "no usable GPU: " + facts.gpu_trouble;
  return facts.gpus == 0 ? "no GPU" : std::to_string(facts.gpus) + " GPUs";
}

bool verbs_run(const MachineFacts& facts, const std::string& driver) {
  return !devices_with(facts, driver).empty() && facts.uverbs != 0 && facts.libibverbs;
}

bool mlx5_runs(const MachineFacts& facts) { return verbs_run(facts, "mlx5_core") && facts.libmlx5; }

std::string not_built(const std::string& machine) {
  return std::string(kNotBuilt) + "; this machine: " + machine;
}

}  // namespace

BuildParts build_parts() {
  BuildParts parts;
  parts.cuda = kWithCuda;
  parts.verbs = kWithVerbs;
  return parts;
}

std::vector<Verdict> judge_backends(const MachineFacts& facts) {
  const std::string mlx5 = found("mlx5_core device", devices_with(facts, "mlx5_core")) + ", " +
                           uverbs_text(facts) + ", " +
                           library("libibverbs.so.1", facts.libibverbs) + ", " +
                           library("libmlx5.so.1", facts.libmlx5);
  const std::string verbs = found("RDMA device", devices_with(facts, "")) + ", " +
                            uverbs_text(facts) + ", " +
                            library("libibverbs.so.1", facts.libibverbs);
  return {
      {"sim", "software NIC in this process", true, "needs no NIC, no GPU and no root"},
      {"mlx5", "ConnectX through libibverbs and mlx5dv", kWithVerbs && mlx5_runs(facts),
       kWithVerbs ? mlx5 : not_built(mlx5)},
      {"verbs", "any RDMA NIC, served by the host", kWithVerbs && verbs_run(facts, ""),
       kWithVerbs ? verbs : not_built(verbs)},
  };
}

std::vector<Verdict> judge_tiers(const MachineFacts& facts) {
  const std::string cluster =
      found("mlx5_core device", devices_with(facts, "mlx5_core")) + ", " + gpu_text(facts);
  const std::string rxe = devices_with(facts, "rdma_rxe");
  const std::string softroce = found("rdma_rxe device", rxe) +
                               (rxe.empty() ? "; ci/softroce brings a kernel that has them" : "");
  const bool cluster_built = kWithVerbs && kWithCuda;
  return {
      {"T0 laptop", "software NIC, host threads", true, std::to_string(facts.cpus) + " CPUs"},
      {"T1 SoftRoCE", "rdma_rxe", kWithVerbs && verbs_run(facts, "rdma_rxe"),
       kWithVerbs ? softroce : not_built(softroce)},
      {"T2 GPU", "software NIC rung by CUDA kernels", kWithCuda && facts.gpus != 0,
       kWithCuda ? gpu_text(facts) : not_built(gpu_text(facts))},
      {"T3 ConnectX", "mlx5 NIC rung by CUDA kernels",
       cluster_built && mlx5_runs(facts) && facts.gpus != 0,
       cluster_built ? cluster : not_built(cluster)},
  };
}

std::vector<Verdict> judge_groups(const std::string& mpi) {
  return {
      {"one process", "all ranks in this process, by any path", true, "needs nothing"},
      {"mpirun", "ranks in several processes, by shared windows", !mpi.empty(),
       mpi.empty() ? kNotBuilt : mpi},
  };
}

}  // namespace ringer::tools
