// SPDX-License-Identifier: Apache-2.0
// The C library's functions that take a path, as a program under `ringer run` finds them.
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ringer/sim/verbs_identity.hpp>

#include "device_path.hpp"
#include "process.hpp"
#include "real.hpp"

namespace ringer::sim::verbs {

namespace {

static_assert(sizeof(struct stat) == sizeof(struct stat64), "one structure under two names");

int open_path(const char* path, int flags, mode_t mode) {
  const DevicePath led(path);
  const auto node = led.node();
  if (!node) return real::open(led.get(), flags, mode);
  // Only what `ringer run` has made is there.
  if (real::access(led.get(), F_OK) != 0) return -1;
  return open_device(*node);
}

int openat_path(int directory, const char* path, int flags, mode_t mode) {
  const DevicePath led(path);
  if (led.node()) return open_path(path, flags, mode);
  return real::openat(directory, led.get(), flags, mode);
}

int stat_path(int directory, const char* path, struct stat* status, int flags) {
  const DevicePath led(path);
  const int result = real::fstatat(directory, led.get(), status, flags);
  if (result != 0) return result;
  if (const auto node = led.node()) disguise_as(*node, *status);
  if ((flags & AT_EMPTY_PATH) != 0) disguise(*status);
  return result;
}

int stat_descriptor(int fd, struct stat* status) {
  const int result = real::fstat(fd, status);
  if (result == 0) disguise(*status);
  return result;
}

int statx_path(int directory, const char* path, int flags, unsigned mask, struct statx* status) {
  const DevicePath led(path);
  const int result = real::statx(directory, led.get(), flags, mask, status);
  struct stat as_stat = {};
  if (result != 0) return result;
  if (const auto node = led.node()) {
    disguise_as(*node, as_stat);
  } else if ((flags & AT_EMPTY_PATH) != 0 && open_devices != 0) {
    if (stat_descriptor(directory, &as_stat) != 0 || !S_ISCHR(as_stat.st_mode)) return result;
  } else {
    return result;
  }
  status->stx_mode = static_cast<uint16_t>(as_stat.st_mode);
  status->stx_rdev_major = kCharMajor;
  status->stx_rdev_minor = static_cast<uint32_t>(as_stat.st_rdev & 0xff);
  return result;
}

// open() has a mode only where it may create a file.
mode_t mode_of(int flags, va_list arguments) {
  const bool creates = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
  return creates ? va_arg(arguments, mode_t) : 0;
}

struct stat* as_stat(struct stat64* status) {
  return reinterpret_cast<struct stat*>(status);
}

}  // namespace

}  // namespace ringer::sim::verbs

using namespace ringer::sim::verbs;

RINGER_EXPORT int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return open_path(path, flags, mode);
}

RINGER_EXPORT int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return open_path(path, flags, mode);
}

RINGER_EXPORT int openat(int directory, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return openat_path(directory, path, flags, mode);
}

RINGER_EXPORT int openat64(int directory, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return openat_path(directory, path, flags, mode);
}

// The names that begin with two underscores are the C library's own.
// NOLINTBEGIN(bugprone-reserved-identifier)

// What FORTIFY makes of open() and openat() without a mode, and of realpath().
RINGER_EXPORT int __open_2(const char* path, int flags) { return open_path(path, flags, 0); }
RINGER_EXPORT int __open64_2(const char* path, int flags) { return open_path(path, flags, 0); }
RINGER_EXPORT int __openat_2(int directory, const char* path, int flags) {
  return openat_path(directory, path, flags, 0);
}
RINGER_EXPORT int __openat64_2(int directory, const char* path, int flags) {
  return openat_path(directory, path, flags, 0);
}
RINGER_EXPORT char* __realpath_chk(const char* path, char* resolved, size_t) {
  return real::realpath(DevicePath(path).get(), resolved);
}

RINGER_EXPORT FILE* fopen(const char* path, const char* mode) {
  return real::fopen(DevicePath(path).get(), mode);
}
RINGER_EXPORT FILE* fopen64(const char* path, const char* mode) {
  return real::fopen(DevicePath(path).get(), mode);
}
RINGER_EXPORT DIR* opendir(const char* path) { return real::opendir(DevicePath(path).get()); }
RINGER_EXPORT int access(const char* path, int mode) noexcept {
  return real::access(DevicePath(path).get(), mode);
}
RINGER_EXPORT int faccessat(int directory, const char* path, int mode, int flags) noexcept {
  return real::faccessat(directory, DevicePath(path).get(), mode, flags);
}
RINGER_EXPORT ssize_t readlink(const char* path, char* target, size_t bytes) noexcept {
  return real::readlink(DevicePath(path).get(), target, bytes);
}
RINGER_EXPORT ssize_t readlinkat(int directory, const char* path, char* target,
                                 size_t bytes) noexcept {
  return real::readlinkat(directory, DevicePath(path).get(), target, bytes);
}
RINGER_EXPORT char* realpath(const char* path, char* resolved) noexcept {
  return real::realpath(DevicePath(path).get(), resolved);
}

RINGER_EXPORT int stat(const char* path, struct stat* status) noexcept {
  return stat_path(AT_FDCWD, path, status, 0);
}
RINGER_EXPORT int stat64(const char* path, struct stat64* status) noexcept {
  return stat_path(AT_FDCWD, path, as_stat(status), 0);
}
RINGER_EXPORT int lstat(const char* path, struct stat* status) noexcept {
  return stat_path(AT_FDCWD, path, status, AT_SYMLINK_NOFOLLOW);
}
RINGER_EXPORT int lstat64(const char* path, struct stat64* status) noexcept {
  return stat_path(AT_FDCWD, path, as_stat(status), AT_SYMLINK_NOFOLLOW);
}
RINGER_EXPORT int fstat(int fd, struct stat* status) noexcept {
  return stat_descriptor(fd, status);
}
RINGER_EXPORT int fstat64(int fd, struct stat64* status) noexcept {
  return stat_descriptor(fd, as_stat(status));
}
RINGER_EXPORT int fstatat(int directory, const char* path, struct stat* status,
                          int flags) noexcept {
  return stat_path(directory, path, status, flags);
}
RINGER_EXPORT int fstatat64(int directory, const char* path, struct stat64* status,
                            int flags) noexcept {
  return stat_path(directory, path, as_stat(status), flags);
}
RINGER_EXPORT int statx(int directory, const char* path, int flags, unsigned mask,
                        struct statx* status) noexcept {
  return statx_path(directory, path, flags, mask, status);
}

// What programs built against a C library before 2.33 call instead.
RINGER_EXPORT int __xstat(int, const char* path, struct stat* status) noexcept {
  return stat_path(AT_FDCWD, path, status, 0);
}
RINGER_EXPORT int __xstat64(int, const char* path, struct stat64* status) noexcept {
  return stat_path(AT_FDCWD, path, as_stat(status), 0);
}
RINGER_EXPORT int __lxstat(int, const char* path, struct stat* status) noexcept {
  return stat_path(AT_FDCWD, path, status, AT_SYMLINK_NOFOLLOW);
}
RINGER_EXPORT int __lxstat64(int, const char* path, struct stat64* status) noexcept {
  return stat_path(AT_FDCWD, path, as_stat(status), AT_SYMLINK_NOFOLLOW);
}
RINGER_EXPORT int __fxstat(int, int fd, struct stat* status) noexcept {
  return stat_descriptor(fd, status);
}
RINGER_EXPORT int __fxstat64(int, int fd, struct stat64* status) noexcept {
  return stat_descriptor(fd, as_stat(status));
}
RINGER_EXPORT int __fxstatat(int, int directory, const char* path, struct stat* status,
                             int flags) noexcept {
  return stat_path(directory, path, status, flags);
}
RINGER_EXPORT int __fxstatat64(int, int directory, const char* path, struct stat64* status,
                               int flags) noexcept {
  return stat_path(directory, path, as_stat(status), flags);
}

// NOLINTEND(bugprone-reserved-identifier)
