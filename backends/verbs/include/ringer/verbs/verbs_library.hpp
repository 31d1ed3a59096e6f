// SPDX-License-Identifier: Apache-2.0
// libibverbs, loaded when the first device is opened: one binary runs with and without.
#pragma once

#include <cstring>
#include <string>
#include <utility>

#include <infiniband/verbs.h>

namespace ringer::verbs {

/// The functions that are no inline ones of the headers.
struct VerbsLibrary {
  decltype(&ibv_get_device_list) get_device_list;
  decltype(&ibv_free_device_list) free_device_list;
  decltype(&ibv_get_device_name) get_device_name;
  decltype(&ibv_open_device) open_device;
  decltype(&ibv_close_device) close_device;
  int (*query_port)(ibv_context*, uint8_t, _compat_ibv_port_attr*);
  decltype(&ibv_query_device) query_device;
  decltype(&_ibv_query_gid_ex) query_gid_ex;
  decltype(&ibv_alloc_pd) alloc_pd;
  decltype(&ibv_dealloc_pd) dealloc_pd;
  decltype(&ibv_reg_mr_iova2) reg_mr_iova2;
  decltype(&ibv_reg_dmabuf_mr) reg_dmabuf_mr;
  decltype(&ibv_dereg_mr) dereg_mr;
  decltype(&ibv_create_comp_channel) create_comp_channel;
  decltype(&ibv_destroy_comp_channel) destroy_comp_channel;
  decltype(&ibv_get_cq_event) get_cq_event;
  decltype(&ibv_ack_cq_events) ack_cq_events;
  decltype(&ibv_create_cq) create_cq;
  decltype(&ibv_destroy_cq) destroy_cq;
  decltype(&ibv_create_qp) create_qp;
  decltype(&ibv_modify_qp) modify_qp;
  decltype(&ibv_query_qp) query_qp;
  decltype(&ibv_destroy_qp) destroy_qp;
  decltype(&ibv_qp_to_qp_ex) qp_to_qp_ex;
  decltype(&ibv_create_ah) create_ah;
  decltype(&ibv_destroy_ah) destroy_ah;

  /// Loads it once. Throws BackendError with the library or symbol that is missing.
  static const VerbsLibrary& load();
};

/// A library of a Debian package, loaded. Errors: BackendError that names both.
void* open_library(const char* name, const char* package);
/// Its function `symbol`. Errors: BackendError.
void* find_symbol(void* library, const char* symbol);
template <class Function>
void find(void* library, const char* symbol, Function& function) {
  void* at = find_symbol(library, symbol);
  std::memcpy(&function, &at, sizeof(at));
}

/// Throws BackendError: verb, device, errno in words.
[[noreturn]] void fail(const std::string& verb, const std::string& device, int error);

/// A provider's object; `destroy` is null while there is none.
template <class T>
class Owned {
 public:
  Owned() = default;
  Owned(T* object, int (*destroy)(T*)) : object_(object), destroy_(destroy) {}
  ~Owned() { reset(); }
  Owned(Owned&& other) noexcept { *this = std::move(other); }
  Owned& operator=(Owned&& other) noexcept {
    std::swap(object_, other.object_);
    std::swap(destroy_, other.destroy_);
    return *this;
  }
  T* get() const { return object_; }
  T* operator->() const { return object_; }
  /// Somebody else destroys it.
  void release() { object_ = nullptr; }
  void reset() {
    if (object_ != nullptr) destroy_(object_);
    object_ = nullptr;
  }

 private:
  T* object_ = nullptr;
  int (*destroy_)(T*) = nullptr;
};

}  // namespace ringer::verbs
