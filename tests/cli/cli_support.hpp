// SPDX-License-Identifier: Apache-2.0
// Runs the ringer command and keeps what it said.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace ringer::test {

/// A directory that goes with its test.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }
  /// Writes a file, making the directories it needs; returns its path.
  std::string write(const std::string& name, const std::string& text) const;
  size_t files() const;

 private:
  std::filesystem::path path_;
};

struct CommandResult {
  int exit_code = -1;  ///< -1: ended by a signal
  std::string out;
  std::string err;
};

/// Runs `command`, whose first word is a path; `environment` entries are "NAME=value", beside what
/// this process has; other RINGER_ variables are not handed on.
CommandResult run_command(const std::vector<std::string>& command,
                          const std::vector<std::string>& environment = {});

/// The ringer command with these arguments.
CommandResult run_ringer(const std::vector<std::string>& arguments,
                         const std::vector<std::string>& environment = {});

size_t lines(const std::string& text);
std::string last_line(const std::string& text);
bool contains(const std::string& text, const std::string& part);

}  // namespace ringer::test
