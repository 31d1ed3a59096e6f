// SPDX-License-Identifier: Apache-2.0
// Memory that the device knows: by address, or as a dma-buf where only its driver knows where it
// is.
#pragma once

#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>
#include <string>

#include <unistd.h>

#include <ringer/control_plane.hpp>
#include <ringer/verbs/device.hpp>

namespace ringer::verbs {

/// IBV_ACCESS_* for ringer::access bits.
int access_flags(uint32_t rights, RelaxedOrdering ordering);

class RegisteredMemory : public MemoryRegion {
 public:
  /// `memory` as in Nic::register_memory(). Errors: BackendError with each way that was tried.
  RegisteredMemory(std::shared_ptr<Device> device, void* address, size_t bytes, uint32_t rights,
                   KernelMemory* memory);
  uint32_t lkey() const override { return mr_->lkey; }
  uint32_t rkey() const override { return mr_->rkey; }

 private:
  std::shared_ptr<Device> device_;
  Owned<ibv_mr> mr_;
};

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

}  // namespace ringer::verbs
