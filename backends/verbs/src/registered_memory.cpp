// SPDX-License-Identifier: Apache-2.0
#include <ringer/verbs/registered_memory.hpp>

namespace ringer::verbs {

int access_flags(uint32_t rights, RelaxedOrdering ordering) {
  int flags = 0;
  if ((rights & access::local_write) != 0) flags |= IBV_ACCESS_LOCAL_WRITE;
  if ((rights & access::remote_write) != 0) flags |= IBV_ACCESS_REMOTE_WRITE;
  if ((rights & access::remote_read) != 0) flags |= IBV_ACCESS_REMOTE_READ;
  if ((rights & access::remote_atomic) != 0) flags |= IBV_ACCESS_REMOTE_ATOMIC;
  // What peers may write, the provider wants writable here, too.
  if ((rights & (access::remote_write | access::remote_atomic)) != 0) {
    flags |= IBV_ACCESS_LOCAL_WRITE;
  }
  // A kernel that does not know it ignores it.
  if ((rights & access::relaxed_order) != 0 && ordering != RelaxedOrdering::off) {
    flags |= IBV_ACCESS_RELAXED_ORDERING;
  }
  return flags;
}

RegisteredMemory::RegisteredMemory(std::shared_ptr<Device> device, void* address, size_t bytes,
                                   uint32_t rights, KernelMemory* memory)
    : device_(std::move(device)) {
  const VerbsLibrary& verbs = device_->verbs;
  const int flags = access_flags(rights, device_->settings.relaxed_ordering.value);
  const auto iova = reinterpret_cast<uint64_t>(address);
  Ways<ibv_mr> ways(*device_, memory, address, bytes);
  const DmaBuf& exported = ways.exported();
  ibv_mr* mr = ways.take(
      "ibv_reg_dmabuf_mr",
      [&] {
        return verbs.reg_dmabuf_mr(device_->pd, exported.offset, bytes, iova, exported.fd, flags);
      },
      "ibv_reg_mr",
      [&] {
        return verbs.reg_mr_iova2(device_->pd, address, bytes, iova, static_cast<unsigned>(flags));
      });
  mr_ = {mr, verbs.dereg_mr};
}

}  // namespace ringer::verbs
