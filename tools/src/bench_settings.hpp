// SPDX-License-Identifier: Apache-2.0
// What the point-to-point benchmarks have in common: perftest's flags, where it runs, the JSON
// file.
#pragma once

#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "cli.hpp"
#include "output_file.hpp"
#include "p2p_launcher.hpp"
#include "processes.hpp"
#include "settings.hpp"

namespace ringer::tools {

/// Throws UsageError if there are several processes: these benchmarks need one.
void require_alone(Processes& processes);

/// --device and --json.
void declare_bench_settings(Settings& settings);
BenchDevice read_device(const Settings& settings);

/// --record.
void declare_record_setting(Settings& settings, const std::string& group);
RecordOrder read_record(const Settings& settings);

/// Where the result goes besides the table, or instead of it.
class BenchOutput {
 public:
  /// Throws UsageError if the file cannot be written.
  explicit BenchOutput(const Settings& settings);
  /// False: stdout is for JSON.
  bool table() const { return text_ != "-"; }
  /// The table's first line: which benchmark, where.
  void title(const char* bench, const Settings& settings) const;
  /// Writes `json` where it is wanted, and the verdict under the table. Returns the exit code.
  int finish(const nlohmann::ordered_json& json, bool ok) const;

 private:
  std::string text_;
  std::optional<OutputFile> file_;
};

/// --ring-wqebbs. Throws UsageError unless it is a depth that a NIC takes.
uint32_t read_ring_wqebbs(const Settings& settings);

/// Message sizes: --size, or with --all the powers of two from 2 bytes to 8 MiB.
std::vector<uint32_t> read_sizes(const Settings& settings);

}  // namespace ringer::tools
