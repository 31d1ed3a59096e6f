// SPDX-License-Identifier: Apache-2.0
#include "registered_memory.hpp"

#include <cerrno>
#include <cstring>
#include <functional>

#include <unistd.h>

namespace ringer::mlx5 {

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

namespace {

/// One way to register; null, with errno, if it does not work.
template <class T>
using Way = std::function<T*()>;

/// The ways in the order in which settings want them, until one works.
template <class T>
class Ways {
 public:
  Ways(const Device& device, KernelMemory* memory, const void* address, size_t bytes)
      : device_(device), bytes_(bytes) {
    const bool far = memory != nullptr && !memory->host_reachable();
    const bool wanted = device.settings.registration.value != Registration::address;
    if (!far || !wanted) return;
    try {
      exported_ = memory->export_dmabuf(address, bytes);
    } catch (const BackendError& e) {
      must_be_exported_ = true;
      failures_ = e.what();
    }
  }
  ~Ways() {
    if (exported_.fd >= 0) close(exported_.fd);
  }
  Ways(const Ways&) = delete;
  Ways& operator=(const Ways&) = delete;
  const DmaBuf& exported() const { return exported_; }

  T* take(const char* dmabuf_verb, const Way<T>& as_dmabuf, const char* address_verb,
          const Way<T>& by_address) {
    const Registration wanted = device_.settings.registration.value;
    T* made = nullptr;
    if (exported_.fd >= 0) made = attempt(dmabuf_verb, as_dmabuf);
    const bool has_address = exported_.fd < 0 && !must_be_exported_;
    const bool only_dmabuf = !has_address && wanted == Registration::dmabuf;
    if (made == nullptr && !only_dmabuf) made = attempt(address_verb, by_address);
    if (made != nullptr) return made;
    throw BackendError("registering " + std::to_string(bytes_) + " bytes on " + device_.name() +
                       ": " + failures_);
  }

 private:
  T* attempt(const char* verb, const Way<T>& way) {
    T* made = way();
    if (made == nullptr) {
      failures_ +=
          (failures_.empty() ? "" : "; ") + std::string(verb) + ": " + std::strerror(errno);
    }
    return made;
  }

  const Device& device_;
  size_t bytes_;
  DmaBuf exported_;
  bool must_be_exported_ = false;  // and cannot be
  std::string failures_;
};

}  // namespace

RegisteredMemory::RegisteredMemory(std::shared_ptr<Device> device, void* address, size_t bytes,
                                   uint32_t rights, KernelMemory* memory)
    : device_(std::move(device)) {
  const RdmaCore& core = device_->core;
  const int flags = access_flags(rights, device_->settings.relaxed_ordering.value);
  const auto iova = reinterpret_cast<uint64_t>(address);
  Ways<ibv_mr> ways(*device_, memory, address, bytes);
  const DmaBuf& exported = ways.exported();
  ibv_mr* mr = ways.take(
      "ibv_reg_dmabuf_mr",
      [&] {
        return core.reg_dmabuf_mr(device_->pd, exported.offset, bytes, iova, exported.fd, flags);
      },
      "ibv_reg_mr",
      [&] {
        return core.reg_mr_iova2(device_->pd, address, bytes, iova, static_cast<unsigned>(flags));
      });
  mr_ = {mr, core.dereg_mr};
}

Owned<mlx5dv_devx_umem> register_queue_memory(const Device& device, KernelMemory& memory,
                                              void* address, size_t bytes) {
  const RdmaCore& core = device.core;
  Ways<mlx5dv_devx_umem> ways(device, &memory, address, bytes);
  mlx5dv_devx_umem_in in{};
  in.size = bytes;
  in.access = IBV_ACCESS_LOCAL_WRITE;
  in.pgsz_bitmap = ~uint64_t{0} << 12;
  const auto register_as_said = [&] { return core.register_umem(device.context, &in); };
  mlx5dv_devx_umem* umem = ways.take(
      "mlx5dv_devx_umem_reg of a dma-buf",
      [&] {
        in.addr = reinterpret_cast<void*>(ways.exported().offset);
        in.comp_mask = MLX5DV_UMEM_MASK_DMABUF;
        in.dmabuf_fd = ways.exported().fd;
        return register_as_said();
      },
      "mlx5dv_devx_umem_reg",
      [&] {
        in.addr = address;
        in.comp_mask = 0;
        return register_as_said();
      });
  return {umem, core.deregister_umem};
}

}  // namespace ringer::mlx5
