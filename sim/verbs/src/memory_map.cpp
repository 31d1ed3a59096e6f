// SPDX-License-Identifier: Apache-2.0
#include "memory_map.hpp"

#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <memory>

#include <sys/mman.h>
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

void populate(uint64_t start, uint64_t bytes, bool writable) {
  require_mapped(start, bytes, writable);
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const uint64_t first = start / page * page;
  // Only sooner than it would be anyway, so it does not matter if this kernel cannot.
  madvise(reinterpret_cast<void*>(first), start + bytes - first,
          writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
}

}  // namespace ringer::sim::verbs
