// SPDX-License-Identifier: Apache-2.0
#include <ringer/control_plane.hpp>
#include <ringer/kernel_memory.hpp>

namespace ringer {

WindowHandle KernelMemory::share(void* /*window*/) {
  throw BackendError("share: other processes cannot open windows of this kind of memory");
}

void* KernelMemory::open(const WindowHandle& /*handle*/) {
  throw BackendError("open: this kind of memory cannot open windows of other processes");
}

void KernelMemory::close(void* /*opened*/) noexcept {}

DmaBuf KernelMemory::export_dmabuf(const void* /*at*/, size_t /*bytes*/) { return {}; }

void* KernelMemory::map_registers(void* page, size_t /*bytes*/) { return page; }

void KernelMemory::unmap_registers(void* /*page*/) noexcept {}

}  // namespace ringer
