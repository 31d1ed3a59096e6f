// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include <dlfcn.h>

#include <ringer/control_plane.hpp>
#include <ringer/verbs/verbs_library.hpp>

namespace ringer::verbs {

void* open_library(const char* name, const char* package) {
  void* library = dlopen(name, RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) {
    throw BackendError(std::string("verbs: cannot load ") + name + " (package " + package +
                       "): " + dlerror());
  }
  return library;
}

void* find_symbol(void* library, const char* symbol) {
  void* at = dlsym(library, symbol);
  if (at == nullptr) {
    throw BackendError(std::string("verbs: rdma-core on this machine is too old: no ") + symbol);
  }
  return at;
}

namespace {

VerbsLibrary load_all() {
  void* verbs = open_library("libibverbs.so.1", "libibverbs1");
  VerbsLibrary library{};
  find(verbs, "ibv_get_device_list", library.get_device_list);
  find(verbs, "ibv_free_device_list", library.free_device_list);
  find(verbs, "ibv_get_device_name", library.get_device_name);
  find(verbs, "ibv_open_device", library.open_device);
  find(verbs, "ibv_close_device", library.close_device);
  find(verbs, "ibv_query_port", library.query_port);
  find(verbs, "ibv_query_device", library.query_device);
  find(verbs, "_ibv_query_gid_ex", library.query_gid_ex);
  find(verbs, "ibv_alloc_pd", library.alloc_pd);
  find(verbs, "ibv_dealloc_pd", library.dealloc_pd);
  find(verbs, "ibv_reg_mr_iova2", library.reg_mr_iova2);
  find(verbs, "ibv_reg_dmabuf_mr", library.reg_dmabuf_mr);
  find(verbs, "ibv_dereg_mr", library.dereg_mr);
  find(verbs, "ibv_create_comp_channel", library.create_comp_channel);
  find(verbs, "ibv_destroy_comp_channel", library.destroy_comp_channel);
  find(verbs, "ibv_get_cq_event", library.get_cq_event);
  find(verbs, "ibv_ack_cq_events", library.ack_cq_events);
  find(verbs, "ibv_create_cq", library.create_cq);
  find(verbs, "ibv_destroy_cq", library.destroy_cq);
  find(verbs, "ibv_create_qp", library.create_qp);
  find(verbs, "ibv_modify_qp", library.modify_qp);
  find(verbs, "ibv_query_qp", library.query_qp);
  find(verbs, "ibv_destroy_qp", library.destroy_qp);
  find(verbs, "ibv_qp_to_qp_ex", library.qp_to_qp_ex);
  find(verbs, "ibv_create_ah", library.create_ah);
  find(verbs, "ibv_destroy_ah", library.destroy_ah);
  return library;
}

}  // namespace

const VerbsLibrary& VerbsLibrary::load() {
  static const VerbsLibrary library = load_all();
  return library;
}

void fail(const std::string& verb, const std::string& device, int error) {
  throw BackendError(verb + " on " + device + ": " + std::strerror(error));
}

}  // namespace ringer::verbs
