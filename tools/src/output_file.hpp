// SPDX-License-Identifier: Apache-2.0
// A file that is either written whole or not at all.
#pragma once

#include <filesystem>
#include <string>

namespace ringer::tools {

class OutputFile {
 public:
  /// Checks that `path` can be written before anything is computed for it. Throws UsageError.
  explicit OutputFile(const std::string& path);

  /// Writes a temporary file beside the target and renames it. Throws std::system_error.
  void write(const std::string& text) const;

 private:
  std::filesystem::path path_;
  bool in_place_ = false;  // a device or pipe: there is nothing to rename
};

}  // namespace ringer::tools
