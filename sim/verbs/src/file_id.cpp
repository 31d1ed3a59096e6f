// SPDX-License-Identifier: Apache-2.0
#include "file_id.hpp"

#include <cstdlib>

#include <dirent.h>
#include <sys/stat.h>

#include "real.hpp"

namespace ringer::sim::verbs {

std::optional<FileId> file_id(int fd) {
  struct stat status;
  if (real::fstat(fd, &status) != 0) return std::nullopt;
  return FileId{status.st_dev, status.st_ino};
}

bool is_open(const FileId& id, int except) {
  DIR* directory = real::opendir("/proc/self/fd");
  if (directory == nullptr) return true;  // unknown: whoever asks keeps what he has
  bool found = false;
  for (const dirent* entry = readdir(directory); entry != nullptr && !found;
       entry = readdir(directory)) {
    char* end = nullptr;
    const int fd = static_cast<int>(std::strtol(entry->d_name, &end, 10));
    found = *end == '\0' && fd != except && file_id(fd) == id;
  }
  closedir(directory);
  return found;
}

}  // namespace ringer::sim::verbs
