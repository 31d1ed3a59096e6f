// SPDX-License-Identifier: Apache-2.0
// A NIC for explored kernels: one actor a queue pair, which executes what is rung on memory itself.
#pragma once

#include <ringer/mlx5/wire.hpp>
#include <ringer/sim/explore/wqe_delivery.hpp>

namespace ringer::test {

/// Serves one send queue until all kernels have ended. Writes go out in order; one of 8 bytes, and
/// an atomic, says that all before it has arrived.
class ExploredNic {
 public:
  ExploredNic(const sim::SimPlatform& p, const DeviceQp& qp, uint64_t& executed)
      : p_(p), qp_(qp), executed_(executed) {}

  /// `done` is not 0 once nobody will ring any more.
  void serve(const uint32_t* done) {
    for (;;) {
      uint16_t rung = 0;
      // `done` first: then there is no doorbell but the one that is seen.
      p_.wait_until<Scope::sys, Order::acquire>(
          done,
          [&](uint32_t ended) {
            // pairs with the fence before the doorbell
            const auto bell = p_.load<Scope::sys, Order::acquire>(qp_.doorbell);
            rung = bell == 0 ? static_cast<uint16_t>(executed_) : sim::announced(bell);
            return rung != static_cast<uint16_t>(executed_) || ended != 0;
          },
          {}, "doorbell");
      if (rung == static_cast<uint16_t>(executed_)) return;
      for (; static_cast<uint16_t>(executed_) != rung; ++executed_) {
        if (!execute()) return;
      }
    }
  }

 private:
  bool execute() {
    const auto* slot =
        static_cast<const uint8_t*>(qp_.sq) + slot_of(executed_, qp_.sq_wqebbs) * kWqebbBytes;
    p_.read_data(slot, 16);
    const auto ctrl = sim::segment_at<mlx5::CtrlSeg>(slot, 0);
    const uint32_t word = ctrl.opmod_idx_opcode.value();
    p_.read_data(slot, 16 * (ctrl.qpn_ds.value() & 0x3f));
    if (static_cast<uint16_t>(word >> 8) != static_cast<uint16_t>(executed_)) {
      p_.fail("a fetched WQE is not the one that was published");
      return false;
    }
    if (!sim::deliver_wqe(p_, slot, false)) {
      p_.fail("an opcode that no kernel posts");
      return false;
    }
    if ((ctrl.fm_ce_se & mlx5::ctrl_flag::cq_update) != 0) complete();
    return true;
  }

  void complete() {
    const mlx5::CqeTail tail{static_cast<uint16_t>(executed_), mlx5::CqeOpcode::requester, false};
    // pairs with the poller's acquire
    p_.store<Scope::sys, Order::release>(&static_cast<mlx5::Cqe*>(qp_.cq)->tail.raw,
                                         tail.word().raw);
  }

  const sim::SimPlatform& p_;
  const DeviceQp& qp_;
  uint64_t& executed_;
};

}  // namespace ringer::test
