// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace ringer::sim::verbs {

/// Ends the call with EFAULT unless all of [start, start + bytes) is memory of this process that
/// can be read, and written if `writable`: what a NIC touches must not fault.
void require_mapped(uint64_t start, uint64_t bytes, bool writable);

/// Has the kernel bring these pages in, ready to be written if `writable`. Errors: as above.
void populate(uint64_t start, uint64_t bytes, bool writable);

}  // namespace ringer::sim::verbs
