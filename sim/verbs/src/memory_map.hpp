// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace ringer::sim::verbs {

/// Ends the call with EFAULT unless all of [start, start + bytes) is memory of this process that
/// can be read, and written if `writable`: what a NIC touches must not fault.
void require_mapped(uint64_t start, uint64_t bytes, bool writable);

/// Has the kernel bring these pages in, ready to be written if `writable`. Errors: as above.
void populate(uint64_t start, uint64_t bytes, bool writable);

/// A stretch of a dma-buf where the NIC reaches it. A file in memory (memfd) passes for a dma-buf.
class DmaBufMapping {
 public:
  /// Errors: VerbsError EBADF; EINVAL: no dma-buf, or it ends before; EPERM: it is open for
  /// reading only; EOPNOTSUPP: its exporter lets no process map it.
  DmaBufMapping(int fd, uint64_t offset, uint64_t bytes, bool writable);
  ~DmaBufMapping();
  DmaBufMapping(const DmaBufMapping&) = delete;
  DmaBufMapping& operator=(const DmaBufMapping&) = delete;
  uint8_t* data() const { return pages_ + in_page_; }

 private:
  uint8_t* pages_ = nullptr;
  uint64_t in_page_ = 0;
  uint64_t mapped_bytes_ = 0;
};

}  // namespace ringer::sim::verbs
