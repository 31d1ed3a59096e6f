// SPDX-License-Identifier: Apache-2.0
// `ringer doctor`: what this node can run of GPU-initiated RDMA, and what to fix.
#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli.hpp"
#include "doctor.hpp"
#include "processes.hpp"
#include "settings.hpp"

namespace ringer::tools {

namespace {

constexpr Level kLevels[] = {Level::ok, Level::note, Level::problem, Level::missing};

auto count_of(const Diagnosis& diagnosis, Level level) {
  return std::count_if(diagnosis.findings.begin(), diagnosis.findings.end(),
                       [&](const Finding& finding) { return finding.level == level; });
}

void print_text(const Diagnosis& diagnosis) {
  fmt::print("ringer {} doctor\n\nFindings\n", kVersion);
  for (const Finding& f : diagnosis.findings) {
    fmt::print("  {:<8} {:<19} {}{}{}\n", name_of(f.level), f.id, f.subject,
               f.subject.empty() ? "" : ": ", f.fact);
    if (!f.advice.empty()) fmt::print("  {:<8} {:<19} -> {}\n", "", "", f.advice);
  }
  fmt::print("\nWhat runs here\n");
  for (const TierVerdict& t : diagnosis.tiers) {
    fmt::print("  {:<24} {:<3}  {}\n", t.name, t.runs ? "yes" : "no", t.reason);
  }
  fmt::print("\n");
  for (const Level level : kLevels) {
    fmt::print("{}{} {}", level == Level::ok ? "" : ", ", count_of(diagnosis, level),
               name_of(level));
  }
  fmt::print("\n");
}

nlohmann::ordered_json to_json(const Diagnosis& diagnosis) {
  auto findings = nlohmann::ordered_json::array();
  for (const Finding& f : diagnosis.findings) {
    findings.push_back({{"id", f.id},
                        {"subject", f.subject},
                        {"level", name_of(f.level)},
                        {"fact", f.fact},
                        {"advice", f.advice},
                        {"blocks", tier_keys(f.blocks)}});
  }
  auto tiers = nlohmann::ordered_json::array();
  for (const TierVerdict& t : diagnosis.tiers) {
    tiers.push_back({{"tier", t.key},
                     {"name", t.name},
                     {"runs", t.runs},
                     {"node_ready", t.node_ready},
                     {"reason", t.reason},
                     {"advice", t.advice}});
  }
  nlohmann::ordered_json counts;
  for (const Level level : kLevels) counts[name_of(level)] = count_of(diagnosis, level);
  return {{"schema", 1},
          {"version", kVersion},
          {"findings", findings},
          {"tiers", tiers},
          {"counts", counts}};
}

class DoctorCommand : public Command {
 public:
  explicit DoctorCommand(CLI::App& app)
      : Command(app, "doctor", "What is in the way of GPU-initiated RDMA, and the fix",
                "RINGER_DOCTOR_") {
    settings_.add("json", "FILE", "", "Result as JSON; - for stdout", "Output", "none");
    settings_.footer(
        fmt::format("Exits with 0 if anything can be told of this node. For tests: {} names a\n"
                    "directory with a recorded sys, dev, proc and usr/lib.",
                    kMachineRootVariable));
  }

  int run(Processes& processes) override {
    const bool to_stdout = settings_.get("json").text() == "-";
    const auto file = processes.speaks() ? open_output(settings_.get("json")) : std::nullopt;
    const NodeFacts facts = probe_node(machine_root());
    if (!processes.speaks()) return facts.probed ? kExitOk : kExitEnvironment;
    if (!facts.probed) {
      fmt::print(stderr, "ringer: neither /proc nor /sys can be read\nmount them\n");
      return kExitEnvironment;
    }
    const Diagnosis diagnosis = diagnose(facts, build_parts());
    const std::string json =
        to_json(diagnosis).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    if (to_stdout) {
      fmt::print("{}", json);
    } else {
      print_text(diagnosis);
    }
    flush_stdout();
    if (file) file->write(json);
    return kExitOk;
  }
};

}  // namespace

std::unique_ptr<Command> add_doctor_command(CLI::App& app) {
  return std::make_unique<DoctorCommand>(app);
}

}  // namespace ringer::tools
