// SPDX-License-Identifier: Apache-2.0
// What this process has open, for tests that something is given back.
#pragma once

#include <filesystem>
#include <iterator>

namespace ringer::test {

inline auto open_files() {
  using Files = std::filesystem::directory_iterator;
  return std::distance(Files("/proc/self/fd"), Files());
}

}  // namespace ringer::test
