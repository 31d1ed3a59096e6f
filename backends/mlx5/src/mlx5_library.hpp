// SPDX-License-Identifier: Apache-2.0
// libmlx5 beside libibverbs, loaded when the first device is opened.
#pragma once

#include <infiniband/mlx5dv.h>

#include <ringer/verbs/verbs_library.hpp>

namespace ringer::mlx5 {

/// The functions that are no inline ones of the headers.
struct Mlx5Library {
  decltype(&mlx5dv_is_supported) is_mlx5;
  decltype(&mlx5dv_init_obj) init_obj;
  decltype(&mlx5dv_create_cq) create_cq;
  decltype(&mlx5dv_devx_alloc_uar) alloc_uar;
  decltype(&mlx5dv_devx_free_uar) free_uar;
  decltype(&mlx5dv_devx_query_eqn) query_eqn;
  decltype(&mlx5dv_devx_umem_reg_ex) register_umem;
  decltype(&mlx5dv_devx_umem_dereg) deregister_umem;
  decltype(&mlx5dv_devx_obj_create) create_object;
  decltype(&mlx5dv_devx_obj_modify) modify_object;
  decltype(&mlx5dv_devx_obj_destroy) destroy_object;

  /// Loads it once. Throws BackendError with the library or symbol that is missing.
  static const Mlx5Library& load();
};

}  // namespace ringer::mlx5
