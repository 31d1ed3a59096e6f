// SPDX-License-Identifier: Apache-2.0
// What the subcommands of `ringer` have in common.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "settings.hpp"

namespace ringer::tools {

class Processes;

inline constexpr const char* kVersion = "0.1.0";

enum ExitCode : int {
  kExitOk = 0,
  kExitFailed = 1,       ///< a check failed, or the group did
  kExitUsage = 2,        ///< the request makes no sense
  kExitEnvironment = 3,  ///< this machine or this build cannot run the request
};

/// One subcommand. `run` returns an exit code or throws; main turns exceptions into exit codes and
/// words.
class Command {
 public:
  virtual ~Command() = default;
  /// Whether the command line names it.
  bool chosen() const { return settings_.chosen(); }
  /// What follows "--" on the command line, as it is. Throws UsageError where nothing may.
  virtual void take_rest(const std::vector<std::string>& words);
  /// In all of `processes` at the same time; the exit code is the same in all.
  virtual int run(Processes& processes) = 0;

 protected:
  /// The subcommand `name` of `parent`, which outlives it; `about` is a line of its help.
  Command(CLI::App& parent, const std::string& name, const std::string& about,
          const std::string& environment_prefix)
      : settings_(parent, name, about, environment_prefix) {}

  Settings settings_;
};

std::unique_ptr<Command> add_ep_command(CLI::App& app);
std::unique_ptr<Command> add_info_command(CLI::App& app);
std::unique_ptr<Command> add_doctor_command(CLI::App& app);
std::unique_ptr<Command> add_explore_command(CLI::App& app);
std::unique_ptr<Command> add_run_command(CLI::App& app);
std::unique_ptr<Command> add_bench_ep_command(CLI::App& bench);
std::unique_ptr<Command> add_bench_post_command(CLI::App& bench);
std::unique_ptr<Command> add_bench_put_bw_command(CLI::App& bench);
std::unique_ptr<Command> add_bench_ping_pong_command(CLI::App& bench);

/// Writes what is buffered for stdout. Throws std::system_error if it does not get there.
void flush_stdout();

}  // namespace ringer::tools
