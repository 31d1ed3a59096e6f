// SPDX-License-Identifier: Apache-2.0
#include "mlx5_library.hpp"

namespace ringer::mlx5 {

namespace {

Mlx5Library load_all() {
  using verbs::find;
  void* mlx5 = verbs::open_library("libmlx5.so.1", "ibverbs-providers");
  Mlx5Library library{};
  find(mlx5, "mlx5dv_is_supported", library.is_mlx5);
  find(mlx5, "mlx5dv_init_obj", library.init_obj);
  find(mlx5, "mlx5dv_create_cq", library.create_cq);
  find(mlx5, "mlx5dv_devx_alloc_uar", library.alloc_uar);
  find(mlx5, "mlx5dv_devx_free_uar", library.free_uar);
  find(mlx5, "mlx5dv_devx_query_eqn", library.query_eqn);
  find(mlx5, "mlx5dv_devx_umem_reg_ex", library.register_umem);
  find(mlx5, "mlx5dv_devx_umem_dereg", library.deregister_umem);
  find(mlx5, "mlx5dv_devx_obj_create", library.create_object);
  find(mlx5, "mlx5dv_devx_obj_modify", library.modify_object);
  find(mlx5, "mlx5dv_devx_obj_destroy", library.destroy_object);
  return library;
}

}  // namespace

const Mlx5Library& Mlx5Library::load() {
  static const Mlx5Library library = load_all();
  return library;
}

}  // namespace ringer::mlx5
