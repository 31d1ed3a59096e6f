// SPDX-License-Identifier: Apache-2.0
#include "device_tree.hpp"

#include <cerrno>
#include <string>
#include <system_error>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ringer/sim/verbs_tree.hpp>

#include "machine_files.hpp"

namespace ringer::tools {

namespace fs = std::filesystem;

namespace {

constexpr const char* kPrefix = "ringer-run-";
constexpr const char* kLockFile = "lock";

/// The lock of a run's directory, or -1: it is held, or there is none.
int try_lock(const fs::path& root, int flags) {
  const int file = open((root / kLockFile).c_str(), flags | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) return -1;
  if (flock(file, LOCK_EX | LOCK_NB) == 0) return file;
  close(file);
  return -1;
}

bool is_own_directory(const fs::path& path) {
  struct stat status;
  return lstat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == geteuid();
}

// Without a lock file it may be one that is being made.
void remove_left_behind() {
  for (const fs::path& root : entries(fs::temp_directory_path())) {
    if (!root.filename().string().starts_with(kPrefix) || !is_own_directory(root)) continue;
    const int lock = try_lock(root, 0);
    if (lock < 0) continue;
    std::error_code ignored;
    fs::remove_all(root, ignored);
    close(lock);
  }
}

}  // namespace

DeviceTree::DeviceTree(uint32_t devices, uint32_t ports, sim::LinkLayer link) {
  remove_left_behind();
  std::string pattern = (fs::temp_directory_path() / (kPrefix + std::string("XXXXXX"))).string();
  if (mkdtemp(pattern.data()) == nullptr) {
    throw std::system_error(errno, std::generic_category(), "cannot make " + pattern);
  }
  root_ = pattern;
  lock_ = try_lock(root_, O_CREAT | O_EXCL);
  sim::verbs::write_device_tree(root_, devices, ports, link);
}

DeviceTree::~DeviceTree() {
  std::error_code ignored;
  fs::remove_all(root_, ignored);
  if (lock_ >= 0) close(lock_);
}

}  // namespace ringer::tools
