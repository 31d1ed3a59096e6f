// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli.hpp"
#include "machine.hpp"
#include "processes.hpp"
#include "routing.hpp"

namespace ringer::tools {

namespace {

MachineFacts probe() {
  const MachineRoot root = machine_root();
  return probe_machine(root.path, root.libraries);
}

std::string gibibytes(uint64_t bytes) {
  return fmt::format("{:.1f} GiB", static_cast<double>(bytes) / 0x1p30);
}

void print_verdicts(const char* title, const std::vector<Verdict>& verdicts) {
  fmt::print("\n{}\n", title);
  for (const Verdict& v : verdicts) {
    fmt::print("  {:<12} {:<3}  {}: {}\n", v.name, v.runs ? "yes" : "no", v.what, v.reason);
  }
}

void print_text(const MachineFacts& facts) {
  fmt::print("ringer {}\n\nMachine\n", kVersion);
  fmt::print("  CPUs         {}\n", facts.cpus);
  fmt::print("  Memory       {}, {} available\n", gibibytes(facts.memory_bytes),
             gibibytes(facts.available_bytes));
  fmt::print("  Pages        {} bytes; {} huge pages ({})\n", facts.page_bytes, facts.hugepages,
             gibibytes(facts.hugepage_bytes));
  std::string devices;
  for (const RdmaDevice& d : facts.rdma) {
    devices += fmt::format("{}{} ({})", devices.empty() ? "" : ", ", d.name, d.driver);
  }
  fmt::print("  RDMA         {}\n", devices.empty() ? "no devices" : devices);
  fmt::print("  GPUs         {}{}\n", facts.gpus,
             facts.gpu_trouble.empty() ? "" : " (" + facts.gpu_trouble + ")");
  print_verdicts("Backends", judge_backends(facts));
  print_verdicts("Tiers", judge_tiers(facts));
  print_verdicts("Groups", judge_groups(mpi_version()));
}

nlohmann::ordered_json to_json(const std::vector<Verdict>& verdicts) {
  auto list = nlohmann::ordered_json::array();
  for (const Verdict& v : verdicts) {
    list.push_back({{"name", v.name}, {"what", v.what}, {"runs", v.runs}, {"reason", v.reason}});
  }
  return list;
}

void print_json(const MachineFacts& facts) {
  nlohmann::ordered_json devices = nlohmann::ordered_json::array();
  for (const RdmaDevice& d : facts.rdma)
    devices.push_back({{"name", d.name}, {"driver", d.driver}});
  const nlohmann::ordered_json root = {
      {"schema", 1},
      {"version", kVersion},
      {"machine",
       {{"cpus", facts.cpus},
        {"memory_bytes", facts.memory_bytes},
        {"available_bytes", facts.available_bytes},
        {"page_bytes", facts.page_bytes},
        {"hugepages", facts.hugepages},
        {"hugepage_bytes", facts.hugepage_bytes},
        {"rdma_devices", devices},
        {"uverbs_nodes", facts.uverbs},
        {"nvidia_nodes", facts.nvidia_nodes},
        {"libibverbs", facts.libibverbs},
        {"libmlx5", facts.libmlx5},
        {"libcuda", facts.libcuda},
        {"gpus", facts.gpus},
        {"gpu_trouble", facts.gpu_trouble}}},
      {"backends", to_json(judge_backends(facts))},
      {"tiers", to_json(judge_tiers(facts))},
      {"groups", to_json(judge_groups(mpi_version()))},
  };
  fmt::print("{}\n", root.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

class InfoCommand : public Command {
 public:
  explicit InfoCommand(CLI::App& app)
      : Command(app, "info", "What this machine can run, and why not the rest", "RINGER_INFO_") {
    settings_.add_flag("json", false, "As JSON", "Output");
    settings_.footer(
        fmt::format("For tests: {} names a directory with a recorded sys, dev, proc and usr/lib.",
                    kMachineRootVariable));
  }
  int run(Processes& processes) override {
    const MachineFacts facts = probe();
    if (!processes.speaks()) return kExitOk;
    settings_.get("json").boolean() ? print_json(facts) : print_text(facts);
    flush_stdout();
    return kExitOk;
  }
};

}  // namespace

std::unique_ptr<Command> add_info_command(CLI::App& app) {
  return std::make_unique<InfoCommand>(app);
}

}  // namespace ringer::tools
