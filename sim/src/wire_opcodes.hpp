// SPDX-License-Identifier: Apache-2.0
// What kinds of requests, packets and transports there are.
#pragma once

#include <ringer/mlx5/wqe.hpp>
#include <ringer/sim/verbs_nic.hpp>

#include "wire_packet.hpp"

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

inline bool is_reliable(Transport transport) {
  return transport != Transport::uc && transport != Transport::ud;
}

/// Whether a packet carries an immediate, or a key to invalidate.
inline bool carries_word(PacketOp op) {  // ImmDt or IETH
  return op == PacketOp::send_last_imm || op == PacketOp::send_only_imm ||
         op == PacketOp::write_last_imm || op == PacketOp::write_only_imm ||
         op == PacketOp::send_last_invalidate || op == PacketOp::send_only_invalidate;
}

}  // namespace ringer::sim
