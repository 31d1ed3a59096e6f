// SPDX-License-Identifier: Apache-2.0
// What every wait and every post returns. A hang is not among the outcomes.
#pragma once

#include <cstdint>
#include <string>

#include <ringer/config.hpp>

namespace ringer {

enum class StatusCode : uint32_t {
  ok = 0,
  no_credit,  ///< the send queue is full and the caller did not want to wait
  deadline,   ///< the wait's time was up
  qp_error,   ///< the NIC reported an error CQE: see `syndrome`
  aborted,    ///< the host asked every wait to end
  invalid,    ///< the request can never succeed (too large, misaligned, zero count)
};

/// Marks a Status that concerns no particular peer.
inline constexpr uint32_t kNoPeer = 0xffffffffu;

/// Outcome of a device-side operation. For `qp_error` the fields name the culprit; for `deadline`
/// `qpn`, `peer` and `wqe_index` say what was waited for as far as it is known.
struct Status {
  StatusCode code = StatusCode::ok;
  uint32_t syndrome = 0;  ///< error CQE syndrome, PRM values (mlx5dv MLX5_CQE_SYNDROME_*)
  uint32_t qpn = 0;
  uint32_t peer = kNoPeer;
  uint64_t wqe_index = 0;

  RINGER_HD constexpr bool ok() const { return code == StatusCode::ok; }
};

RINGER_HD constexpr Status make_status(StatusCode code) {
  Status s;
  s.code = code;
  return s;
}

/// "ok", "deadline", "queue pair error" ...
const char* to_string(StatusCode code);

/// One line for people: code, syndrome by name, peer, queue pair and WQE index.
std::string to_string(const Status& status);

/// Name of an error CQE's syndrome, e.g. 0x13 -> "remote access error".
const char* syndrome_name(uint32_t syndrome);

}  // namespace ringer
