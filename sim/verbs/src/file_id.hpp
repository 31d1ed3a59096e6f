// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <optional>

#include <sys/types.h>

namespace ringer::sim::verbs {

/// What all duplicates of a file descriptor have in common.
struct FileId {
  dev_t device;
  ino_t inode;
  auto operator<=>(const FileId&) const = default;
};

std::optional<FileId> file_id(int fd);
/// Whether this process has a descriptor of that file, `except` aside.
bool is_open(const FileId& id, int except);

}  // namespace ringer::sim::verbs
