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
    qp.sq = rings;
    auto* const cqes = reinterpret_cast<mlx5::Cqe*>(rings + ring_wqebbs * kWqebbBytes);
    for (uint32_t i = 0; i < qp.cq_cqes; ++i) cqes[i].tail = mlx5::kInvalidCqeTail;
    qp.cq = cqes;
    qp.dbr = dbr;
    qp.cq_dbr = cq_dbr;
    qp.doorbell = &doorbell;
    qp.state = &state;
    qp.range_ends = range_ends;
  }

  /// After a reset().
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
    names.push_back({qp.sq, size_t{qp.sq_wqebbs} * kWqebbBytes, "qp0.sq"});
    names.push_back({qp.cq, qp.cq_cqes * sizeof(mlx5::Cqe), "qp0.cq"});
  }
  /// What is behind it is not used.
  const std::byte* end() const {
    return static_cast<const std::byte*>(qp.cq) + qp.cq_cqes * sizeof(mlx5::Cqe);
  }

  SqState state;
  DeviceQp qp;
  uint64_t doorbell;
  Be32 dbr[2];
  Be32 cq_dbr[2];
  uint64_t range_ends[kMaxRing];
  // WQEBBs, behind them CQEs: a small ring leaves the end to spare.
  alignas(64) uint8_t rings[kMaxRing * (kWqebbBytes + sizeof(mlx5::Cqe))];
};

}  // namespace ringer::sim
