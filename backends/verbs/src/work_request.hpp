// SPDX-License-Identifier: Apache-2.0
// A WQE of one basic block, as libibverbs says it.
#pragma once

#include <cstdint>

#include <infiniband/verbs.h>

#include <ringer/mlx5/wire.hpp>

namespace ringer::verbs {

/// A request and what it points to.
struct Request {
  ibv_send_wr wr{};
  ibv_sge piece{};
};

/// Reads the WQE at `wqe`. Inline data is copied to `inline_at`, kMaxInlineBytes, and named with
/// `inline_lkey`. False if it says something that libibverbs cannot say.
bool read_wqe(const uint8_t* wqe, uint8_t* inline_at, uint32_t inline_lkey, bool takes_inline,
              Request& request);

}  // namespace ringer::verbs
