// SPDX-License-Identifier: Apache-2.0
// UAR pages: BlueFlame and non-cached alike, for to memory they are the same.
#include "methods.hpp"

namespace ringer::sim::verbs {

namespace {

// As mlx5_ib_uapi_uar_alloc_type.
constexpr uint32_t kUarTypes = 2;

void alloc_uar(Context& context, const Request& request) {
  require(request.in<uint32_t>(MLX5_IB_ATTR_UAR_OBJ_ALLOC_TYPE) < kUarTypes, EINVAL);
  const auto& uar = context.objects.make<Uar>(context.nic, context.bar);
  request.set_handle(MLX5_IB_ATTR_UAR_OBJ_ALLOC_HANDLE, uar.handle());
  request.out(MLX5_IB_ATTR_UAR_OBJ_ALLOC_MMAP_OFFSET, uint64_t{uar.page} * Bar::kPageBytes);
  request.out(MLX5_IB_ATTR_UAR_OBJ_ALLOC_MMAP_LENGTH, Bar::kPageBytes);
  request.out(MLX5_IB_ATTR_UAR_OBJ_ALLOC_PAGE_ID, uar.page);
}

void destroy_uar(Context& context, const Request& request) {
  context.objects.take<Uar>(request.handle(MLX5_IB_ATTR_UAR_OBJ_DESTROY_HANDLE));
}

constexpr Method kMethods[] = {
    {MLX5_IB_OBJECT_UAR, MLX5_IB_METHOD_UAR_OBJ_ALLOC, kNoAttributes,
     up_to(MLX5_IB_ATTR_UAR_OBJ_ALLOC_PAGE_ID), alloc_uar},
    {MLX5_IB_OBJECT_UAR, MLX5_IB_METHOD_UAR_OBJ_DESTROY, kNoAttributes,
     up_to(MLX5_IB_ATTR_UAR_OBJ_DESTROY_HANDLE), destroy_uar},
};

}  // namespace

std::span<const Method> uar_methods() { return kMethods; }

}  // namespace ringer::sim::verbs
