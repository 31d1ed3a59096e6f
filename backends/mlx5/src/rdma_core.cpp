// SPDX-License-Identifier: Apache-2.0
#include "rdma_core.hpp"

#include <cstring>

#include <dlfcn.h>

#include <ringer/control_plane.hpp>

namespace ringer::mlx5 {

namespace {

void* open_library(const char* name, const char* package) {
  void* library = dlopen(name, RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) {
    throw BackendError(std::string("mlx5: cannot load ") + name + " (package " + package +
                       "): " + dlerror());
  }
  return library;
}

template <class Function>
void find(void* library, const char* symbol, Function& function) {
  void* at = dlsym(library, symbol);
  if (at == nullptr) {
    throw BackendError(std::string("mlx5: rdma-core on this machine is too old: no ") + symbol);
  }
  std::memcpy(&function, &at, sizeof(at));
}

RdmaCore load_all() {
  void* verbs = open_library("libibverbs.so.1", "libibverbs1");
  void* mlx5 = open_library("libmlx5.so.1", "ibverbs-providers");
  RdmaCore core{};
  find(verbs, "ibv_get_device_list", core.get_device_list);
  find(verbs, "ibv_free_device_list", core.free_device_list);
  find(verbs, "ibv_get_device_name", core.get_device_name);
  find(verbs, "ibv_open_device", core.open_device);
  find(verbs, "ibv_close_device", core.close_device);
  find(verbs, "ibv_query_port", core.query_port);
  find(verbs, "ibv_query_device", core.query_device);
  find(verbs, "_ibv_query_gid_ex", core.query_gid_ex);
  find(verbs, "ibv_alloc_pd", core.alloc_pd);
  find(verbs, "ibv_dealloc_pd", core.dealloc_pd);
  find(verbs, "ibv_reg_mr_iova2", core.reg_mr_iova2);
  find(verbs, "ibv_reg_dmabuf_mr", core.reg_dmabuf_mr);
  find(verbs, "ibv_dereg_mr", core.dereg_mr);
  find(verbs, "ibv_destroy_cq", core.destroy_cq);
  find(verbs, "ibv_create_qp", core.create_qp);
  find(verbs, "ibv_modify_qp", core.modify_qp);
  find(verbs, "ibv_query_qp", core.query_qp);
  find(verbs, "ibv_destroy_qp", core.destroy_qp);
  find(mlx5, "mlx5dv_is_supported", core.is_mlx5);
  find(mlx5, "mlx5dv_init_obj", core.init_obj);
  find(mlx5, "mlx5dv_create_cq", core.create_cq);
  find(verbs, "ibv_create_ah", core.create_ah);
  find(verbs, "ibv_destroy_ah", core.destroy_ah);
  find(mlx5, "mlx5dv_devx_alloc_uar", core.alloc_uar);
  find(mlx5, "mlx5dv_devx_free_uar", core.free_uar);
  find(mlx5, "mlx5dv_devx_query_eqn", core.query_eqn);
  find(mlx5, "mlx5dv_devx_umem_reg_ex", core.register_umem);
  find(mlx5, "mlx5dv_devx_umem_dereg", core.deregister_umem);
  find(mlx5, "mlx5dv_devx_obj_create", core.create_object);
  find(mlx5, "mlx5dv_devx_obj_modify", core.modify_object);
  find(mlx5, "mlx5dv_devx_obj_destroy", core.destroy_object);
  return core;
}

}  // namespace

const RdmaCore& RdmaCore::load() {
  static const RdmaCore core = load_all();
  return core;
}

void fail(const std::string& verb, const std::string& device, int error) {
  throw BackendError(verb + " on " + device + ": " + std::strerror(error));
}

}  // namespace ringer::mlx5
