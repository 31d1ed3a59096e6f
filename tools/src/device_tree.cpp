// SPDX-License-Identifier: Apache-2.0
#include "device_tree.hpp"

#include <cerrno>
#include <cstring>
#include <ios>
#include <string>
#include <system_error>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ringer/sim/verbs_tree.hpp>

#include "machine_files.hpp"
#include "routing.hpp"

namespace ringer::tools {

namespace fs = std::filesystem;

namespace {

constexpr const char* kPrefix = "ringer-run-";
constexpr const char* kUnfinished = "ringer-new-";
constexpr size_t kUnique = 6;  // characters behind either
constexpr const char* kLockFile = "lock";

/// The lock of a run's directory, or -1: it is held, or there is none. The command inherits it: as
/// long as anything of it lives, it is held.
int try_lock(const fs::path& root, int flags) {
  const int file = open((root / kLockFile).c_str(), flags | O_RDWR | O_NOFOLLOW, 0600);
  if (file < 0) return -1;
  if (flock(file, LOCK_EX | LOCK_NB) == 0) return file;
  close(file);
  return -1;
}

bool is_own_tree(const fs::path& path) {
  const std::string name = path.filename().string();
  struct stat status;
  return name.starts_with(kPrefix) && name.size() == std::strlen(kPrefix) + kUnique &&
         lstat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == geteuid();
}

void remove_left_behind(const fs::path& folder) {
  for (const fs::path& root : entries(folder)) {
    if (!is_own_tree(root)) continue;
    const int lock = try_lock(root, 0);
    if (lock < 0) continue;
    std::error_code ignored;
    fs::remove_all(root, ignored);
    close(lock);
  }
}

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

// It is made under a name that no sweep looks at, and is locked when it gets the one that they do.
DeviceTree::DeviceTree(uint32_t devices, uint32_t ports, sim::LinkLayer link) {
  std::error_code error;
  const fs::path folder = fs::temp_directory_path(error);
  if (error) throw UsageError("TMPDIR is not a directory");
  remove_left_behind(folder);
  std::string name = (folder / (kUnfinished + std::string("XXXXXX"))).string();
  if (mkdtemp(name.data()) == nullptr) fail("cannot make " + name);
  root_ = name;
  try {
    lock_ = try_lock(root_, O_CREAT | O_EXCL);
    if (lock_ < 0) fail("cannot lock " + name);
    sim::verbs::write_device_tree(root_, devices, ports, link);
    const fs::path finished = root_.parent_path() / (kPrefix + name.substr(name.size() - kUnique));
    fs::rename(root_, finished);
    root_ = finished;
  } catch (const std::ios_base::failure&) {
    remove();
    throw std::system_error(ENOSPC, std::generic_category(), "cannot write below " + name);
  } catch (...) {
    remove();
    throw;
  }
}

DeviceTree::~DeviceTree() { remove(); }

void DeviceTree::remove() noexcept {
  std::error_code ignored;
  fs::remove_all(root_, ignored);
  if (lock_ >= 0) close(lock_);
}

}  // namespace ringer::tools
