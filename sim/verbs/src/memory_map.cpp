// SPDX-License-Identifier: Apache-2.0
#include "memory_map.hpp"

#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "real.hpp"
#include "verbs_error.hpp"

namespace ringer::sim::verbs {

void require_mapped(uint64_t start, uint64_t bytes, bool writable) {
  require(bytes != 0 && start + bytes > start, EFAULT);
  const std::unique_ptr<FILE, int (*)(FILE*)> maps(real::fopen("/proc/self/maps", "re"),
                                                   [](FILE* file) { return std::fclose(file); });
  if (maps == nullptr) return;  // no way to know
  uint64_t covered = start;
  char line[4608];
  while (covered < start + bytes && std::fgets(line, sizeof line, maps.get()) != nullptr) {
    uint64_t begin = 0;
    uint64_t end = 0;
    char rights[5] = "";
    if (std::sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s", &begin, &end, rights) != 3) continue;
    if (end <= covered) continue;
    require(begin <= covered, EFAULT);
    require(rights[0] == 'r' && (!writable || rights[1] == 'w'), EFAULT);
    covered = end;
  }
  require(covered >= start + bytes, EFAULT);
}

namespace {

bool is_dmabuf(int fd) {
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  char target[64];
  const ssize_t length = real::readlink(link.c_str(), target, sizeof target);
  require(length >= 0, EBADF);
  const std::string_view name(target, static_cast<size_t>(length));
  return name.starts_with("/dmabuf:") || name.starts_with("/memfd:");
}

// A dma-buf tells its size only by a seek; a file must not notice that it was asked.
uint64_t size_of(int fd) {
  struct stat status;
  require(real::fstat(fd, &status) == 0, EBADF);
  if (S_ISREG(status.st_mode)) return static_cast<uint64_t>(status.st_size);
  const off_t end = lseek(fd, 0, SEEK_END);
  return end < 0 ? 0 : static_cast<uint64_t>(end);
}

}  // namespace

DmaBufMapping::DmaBufMapping(int fd, uint64_t offset, uint64_t bytes, bool writable) {
  require(is_dmabuf(fd), EINVAL);
  const uint64_t size = size_of(fd);
  require(bytes != 0 && offset <= size && bytes <= size - offset, EINVAL);
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  in_page_ = offset % page;
  mapped_bytes_ = in_page_ + bytes;
  void* at = mmap(nullptr, mapped_bytes_, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED,
                  fd, static_cast<off_t>(offset - in_page_));
  require(at != MAP_FAILED, errno == EACCES || errno == EPERM ? EPERM : EOPNOTSUPP);
  pages_ = static_cast<uint8_t*>(at);
}

DmaBufMapping::~DmaBufMapping() { munmap(pages_, mapped_bytes_); }

void populate(uint64_t start, uint64_t bytes, bool writable) {
  require_mapped(start, bytes, writable);
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const uint64_t first = start / page * page;
  // Only sooner than it would be anyway, so it does not matter if this kernel cannot.
  madvise(reinterpret_cast<void*>(first), start + bytes - first,
          writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
}

}  // namespace ringer::sim::verbs
