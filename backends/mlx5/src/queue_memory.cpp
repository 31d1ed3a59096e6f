// SPDX-License-Identifier: Apache-2.0
#include "queue_memory.hpp"

#include <ringer/verbs/registered_memory.hpp>

namespace ringer::mlx5 {

Owned<mlx5dv_devx_umem> register_queue_memory(const Device& device, KernelMemory& memory,
                                              void* address, size_t bytes) {
  const Mlx5Library& mlx5 = device.mlx5;
  verbs::Ways<mlx5dv_devx_umem> ways(device, &memory, address, bytes);
  mlx5dv_devx_umem_in in{};
  in.size = bytes;
  in.access = IBV_ACCESS_LOCAL_WRITE;
  in.pgsz_bitmap = ~uint64_t{0} << 12;
  const auto register_as_said = [&] { return mlx5.register_umem(device.context, &in); };
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
  return {umem, mlx5.deregister_umem};
}

}  // namespace ringer::mlx5
