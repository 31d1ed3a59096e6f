// SPDX-License-Identifier: Apache-2.0
// libibverbs and libmlx5, loaded when the first device is opened: one binary runs with and without.
#pragma once

#include <string>

#include <infiniband/mlx5dv.h>
#include <infiniband/verbs.h>

namespace ringer::mlx5 {

/// The functions that are no inline ones of the headers.
struct RdmaCore {
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
  decltype(&ibv_destroy_cq) destroy_cq;
  decltype(&ibv_create_qp) create_qp;
  decltype(&ibv_modify_qp) modify_qp;
  decltype(&ibv_query_qp) query_qp;
  decltype(&ibv_destroy_qp) destroy_qp;
  decltype(&mlx5dv_is_supported) is_mlx5;
  decltype(&mlx5dv_init_obj) init_obj;
  decltype(&mlx5dv_create_cq) create_cq;
  decltype(&ibv_create_ah) create_ah;
  decltype(&ibv_destroy_ah) destroy_ah;
  decltype(&mlx5dv_devx_alloc_uar) alloc_uar;
  decltype(&mlx5dv_devx_free_uar) free_uar;
  decltype(&mlx5dv_devx_query_eqn) query_eqn;
  decltype(&mlx5dv_devx_umem_reg_ex) register_umem;
  decltype(&mlx5dv_devx_umem_dereg) deregister_umem;
  decltype(&mlx5dv_devx_obj_create) create_object;
  decltype(&mlx5dv_devx_obj_modify) modify_object;
  decltype(&mlx5dv_devx_obj_destroy) destroy_object;

  /// Loads them once. Throws BackendError with the library or symbol that is missing.
  static const RdmaCore& load();
};

/// Throws BackendError: verb, device, errno in words.
[[noreturn]] void fail(const std::string& verb, const std::string& device, int error);

}  // namespace ringer::mlx5
