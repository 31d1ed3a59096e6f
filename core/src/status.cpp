// SPDX-License-Identifier: Apache-2.0
#include <ringer/mlx5/cqe.hpp>
#include <ringer/status.hpp>

namespace ringer {

const char* to_string(StatusCode code) {
  switch (code) {
    case StatusCode::ok:
      return "ok";
    case StatusCode::no_credit:
      return "send queue full";
    case StatusCode::deadline:
      return "deadline passed";
    case StatusCode::qp_error:
      return "queue pair error";
    case StatusCode::aborted:
      return "aborted";
    case StatusCode::invalid:
      return "invalid request";
  }
  return "unknown status";
}

const char* syndrome_name(uint32_t syndrome) {
  switch (static_cast<mlx5::Syndrome>(syndrome)) {
    case mlx5::Syndrome::local_length:
      return "local length error";
    case mlx5::Syndrome::local_qp_operation:
      return "local queue pair operation error";
    case mlx5::Syndrome::local_protection:
      return "local protection error";
    case mlx5::Syndrome::window_bind:
      return "memory window bind error";
    case mlx5::Syndrome::flushed:
      return "work request flushed";
    case mlx5::Syndrome::bad_response:
      return "bad response";
    case mlx5::Syndrome::local_access:
      return "local access error";
    case mlx5::Syndrome::remote_invalid_request:
      return "remote invalid request";
    case mlx5::Syndrome::remote_access:
      return "remote access error";
    case mlx5::Syndrome::remote_operation:
      return "remote operation error";
    case mlx5::Syndrome::retry_exceeded:
      return "transport retry exceeded";
    case mlx5::Syndrome::rnr_retry_exceeded:
      return "receiver not ready, retry exceeded";
    case mlx5::Syndrome::remote_aborted:
      return "remote aborted";
  }
  return "unknown syndrome";
}

std::string to_string(const Status& status) {
  std::string text = to_string(status.code);
  if (status.ok()) return text;
  if (status.code == StatusCode::qp_error) {
    text += std::string(": ") + syndrome_name(status.syndrome) + " (syndrome " +
            std::to_string(status.syndrome) + ")";
  }
  if (status.peer != kNoPeer) text += ", peer " + std::to_string(status.peer);
  if (status.qpn != 0) {
    text +=
        ", qpn " + std::to_string(status.qpn) + ", wqe index " + std::to_string(status.wqe_index);
  }
  return text;
}

}  // namespace ringer
