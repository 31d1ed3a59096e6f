// SPDX-License-Identifier: Apache-2.0
// What kind of request an opcode is.
#pragma once

#include <ringer/mlx5/wqe.hpp>

namespace ringer::sim {

inline bool is_atomic(mlx5::Opcode opcode) {
  return opcode == mlx5::Opcode::atomic_cs || opcode == mlx5::Opcode::atomic_fa ||
         opcode == mlx5::Opcode::atomic_masked_cs || opcode == mlx5::Opcode::atomic_masked_fa;
}
inline bool is_send(mlx5::Opcode opcode) {
  return opcode == mlx5::Opcode::send || opcode == mlx5::Opcode::send_imm ||
         opcode == mlx5::Opcode::send_invalidate;
}
inline bool is_write(mlx5::Opcode opcode) {
  return opcode == mlx5::Opcode::rdma_write || opcode == mlx5::Opcode::rdma_write_imm;
}
inline bool is_local(mlx5::Opcode opcode) {
  return opcode == mlx5::Opcode::nop || opcode == mlx5::Opcode::umr ||
         opcode == mlx5::Opcode::local_invalidate;
}
inline bool has_immediate(mlx5::Opcode opcode) {
  return opcode == mlx5::Opcode::send_imm || opcode == mlx5::Opcode::rdma_write_imm ||
         opcode == mlx5::Opcode::send_invalidate;
}

}  // namespace ringer::sim
