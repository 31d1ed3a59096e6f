// SPDX-License-Identifier: Apache-2.0
// Reading /sys, /proc and /dev, where anything may be absent: what cannot be read is nothing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ringer::tools {

/// What is in a directory, sorted by name.
std::vector<std::filesystem::path> entries(const std::filesystem::path& directory);

std::optional<std::string> first_line(const std::filesystem::path& file);
/// The decimal number that the file begins with.
std::optional<uint64_t> first_number(const std::filesystem::path& file);

/// What stands behind `key` in the first line that begins with it, without spaces around it.
std::optional<std::string> field(const std::filesystem::path& file, std::string_view key);

/// The decimal number that `text` begins with.
std::optional<uint64_t> leading_number(std::string_view text);

/// "uverbs12" is numbered "uverbs".
bool is_numbered(const std::string& name, std::string_view prefix);

}  // namespace ringer::tools
