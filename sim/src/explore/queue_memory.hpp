// SPDX-License-Identifier: Apache-2.0
// The memory of one explored queue pair.
#pragma once

#include <cstring>
#include <vector>

#include <ringer/device_qp.hpp>
#include <ringer/mlx5/wire.hpp>
#include <ringer/sim/explore/execution.hpp>

namespace ringer::sim {

/// Plain data: it is saved and compared as bytes.
template <uint32_t kMaxRing>
struct QueueMemory {
  void reset(uint32_t ring_wqebbs, CqMode cq_mode, uint64_t start_index) {
    std::memset(static_cast<void*>(this), 0, sizeof(*this));
    reset_heads(state, start_index);
    dbr[mlx5::Wire::kDbrSend] = mlx5::Wire::dbr_value(start_index);
    qp.layout_stamp = kDeviceQpStamp;
    qp.qpn = 0x100;
    qp.sq_wqebbs = ring_wqebbs;
    qp.cq_mode = cq_mode;
    qp.cq_cqes = cq_mode == CqMode::collapsed ? 1 : ring_wqebbs;
    for (mlx5::Cqe& cqe : cq) cqe.tail = mlx5::kInvalidCqeTail;
    qp.sq = sq;
    qp.cq = cq;
    qp.dbr = dbr;
    qp.cq_dbr = cq_dbr;
    qp.doorbell = &doorbell;
    qp.state = &state;
    qp.range_ends = range_ends;
  }

  void name(std::vector<Program::Name>& names) const {
    const auto add = [&](const auto& what, const char* text) {
      names.push_back({&what, sizeof(what), text});
    };
    add(state.resv_head, "qp0.sq.resv_head");
    add(state.ready_head, "qp0.sq.ready_head");
    add(state.prod_idx, "qp0.sq.prod_idx");
    add(state.cons_idx, "qp0.sq.cons_idx");
    add(state.cq_lock, "qp0.cq.lock");
    add(state.error, "qp0.error");
    add(doorbell, "qp0.doorbell");
    add(dbr, "qp0.dbr");
    add(cq_dbr, "qp0.cq_dbr");
    add(range_ends, "qp0.sq.range_ends");
    add(cq, "qp0.cq");
    add(sq, "qp0.sq");
  }

  SqState state;
  DeviceQp qp;
  uint64_t doorbell;
  Be32 dbr[2];
  Be32 cq_dbr[2];
  uint64_t range_ends[kMaxRing];
  alignas(64) mlx5::Cqe cq[kMaxRing];
  alignas(64) uint8_t sq[kMaxRing * kWqebbBytes];
};

}  // namespace ringer::sim
