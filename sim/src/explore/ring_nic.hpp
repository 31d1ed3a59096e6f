// SPDX-License-Identifier: Apache-2.0
// A NIC without a memory of its own, as an actor: it looks at the doorbell, at the record, fetches,
// executes and completes, one step at a time.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>

#include <ringer/mlx5/wire.hpp>
#include <ringer/sim/explore/ring_scenario.hpp>
#include <ringer/sim/explore/wqe_delivery.hpp>

namespace ringer::sim {

constexpr uint32_t kMaxRing = 8;
constexpr uint32_t kMaxPosters = 8;

/// What a WQE fails with: a remote access error.
constexpr uint32_t kSyndrome = 0x13;

/// What signals begin above; posts write less.
constexpr uint64_t kFirstSignal = uint64_t{1} << 40;

/// A poster's number in the high half of what it writes, its count of posts from 1 in the low one.
constexpr uint64_t ring_value(uint32_t poster, uint32_t sequence) {
  return (uint64_t{poster} << 32) | sequence;
}

class SteppedNic {
 public:
  SteppedNic(const SimPlatform& p, const DeviceQp& qp, const RingScenario& scenario)
      : p_(p), qp_(qp), scenario_(scenario) {
    at_.authorised = at_.executed = at_.rung = scenario.start_index;
  }

  void run() {
    const uint64_t end = at_.executed + uint64_t{scenario_.posters} * scenario_.wqes;
    // Posters beside the first may leave what they post un-rung.
    while (scenario_.mixed ? at_.posts[0] < scenario_.wqes : at_.executed < end) {
      if (!see_announcement()) return;
      if (at_.authorised - at_.executed > scenario_.ring_wqebbs) {
        return p_.fail("announced beyond the ring");
      }
      if (at_.authorised > end) return p_.fail("announced what nobody has posted");
      for (; at_.executed < at_.authorised; ++at_.executed) {
        if (!execute()) return;
      }
    }
  }

 private:
  using Wire = mlx5::Wire;
  struct Position {
    uint64_t authorised;
    uint64_t executed;
    uint64_t rung;
    uint64_t signals;
    uint64_t cqes;
    uint32_t posts[kMaxPosters];  // of each poster, executed
  };

  static uint16_t extent(uint32_t record) { return static_cast<uint16_t>(Be32{record}.value()); }
  // How far a 16-bit position is ahead of an index; negative if it is behind.
  static int ahead(uint64_t index, uint16_t position) {
    return static_cast<int16_t>(static_cast<uint16_t>(position - static_cast<uint16_t>(index)));
  }

  // Each step has a frame of its own: what it leaves on the stack would tell states apart that are
  // the same.

  // False if none will come: the queue has failed.
  [[gnu::noinline]] bool see_announcement() {
    const uint32_t* record = &qp_.dbr[Wire::kDbrSend].raw;
    const uint16_t rung = static_cast<uint16_t>(at_.rung);
    uint64_t bell = 0;
    bool recovered = false;
    // pairs with the fence before the doorbell
    const WaitLimit limit = WaitLimit{}.with_queue_error(&qp_.state->error.code);
    const WaitOutcome outcome = p_.wait_until<Scope::sys, Order::acquire>(
        qp_.doorbell,
        [&](uint64_t now) {
          bell = now != 0 && announced(now) != rung ? now : 0;
          recovered =
              bell == 0 && scenario_.recovers &&
              ahead(at_.authorised, extent(p_.load<Scope::sys, Order::acquire>(record))) > 0;
          return bell != 0 || recovered;
        },
        limit, "doorbell");
    if (outcome == WaitOutcome::stopped) return false;
    if (!recovered) {
      const int step = ahead(at_.rung, announced(bell));
      if (step < 0) return refuse("the doorbell went back");
      at_.rung += static_cast<uint64_t>(step);
    }
    const int beyond = ahead(at_.rung, extent(p_.load<Scope::sys, Order::acquire>(record)));
    if (scenario_.record == RecordOrder::before_doorbell && beyond < 0) {
      return refuse("the record is behind the doorbell");
    }
    const uint64_t extended = beyond > 0 ? at_.rung + static_cast<uint64_t>(beyond) : at_.rung;
    at_.authorised = std::max(at_.authorised, extended);
    return true;
  }

  [[gnu::noinline]] bool execute() {
    const auto* slot = static_cast<const uint8_t*>(qp_.sq) +
                       slot_of(at_.executed, scenario_.ring_wqebbs) * kWqebbBytes;
    p_.read_data(slot, 48);
    const auto ctrl = segment_at<mlx5::CtrlSeg>(slot, 0);
    if (((ctrl.opmod_idx_opcode.value() >> 8) & 0xffff) != (at_.executed & 0xffff)) {
      return refuse("a fetched WQE is not the one that was published");
    }
    uint64_t value;
    std::memcpy(&value, slot + 36, sizeof(value));
    if (const char* wrong = check(value); wrong != nullptr) return refuse(wrong);
    if (scenario_.fails_at != 0 && at_.executed - scenario_.start_index + 1 == scenario_.fails_at) {
      complete(mlx5::CqeOpcode::requester_error);
      return false;
    }
    if ((ctrl.fm_ce_se & mlx5::ctrl_flag::cq_update) != 0) complete(mlx5::CqeOpcode::requester);
    return true;
  }

  bool refuse(const char* why) {
    p_.fail(why);
    return false;
  }

  // What the WQE writes says whose it is, and which of his.
  const char* check(uint64_t value) {
    if (value > kFirstSignal) {
      return value == kFirstSignal + ++at_.signals ? nullptr
                                                   : "a signal is not the one after the last";
    }
    const auto poster = static_cast<uint32_t>(value >> 32);
    if (poster >= scenario_.posters || static_cast<uint32_t>(value) != ++at_.posts[poster]) {
      return "a WQE is lost, twice executed or out of its poster's order";
    }
    return nullptr;
  }

  [[gnu::noinline]] void complete(mlx5::CqeOpcode opcode) {
    uint64_t slot = 0;
    bool owner = false;
    if (qp_.cq_mode == CqMode::owner_bit) {
      const Be32 consumed{
          p_.load<Scope::sys, Order::acquire>(&qp_.cq_dbr[Wire::kCqDbrConsumer].raw)};
      // Compared as the NIC has it: 24 bits.
      if (((at_.cqes - consumed.value()) & 0xffffff) >= qp_.cq_cqes) {
        return p_.fail("the completion queue is overrun");
      }
      slot = at_.cqes & (qp_.cq_cqes - 1);
      owner = (at_.cqes & qp_.cq_cqes) != 0;
    }
    ++at_.cqes;
    const mlx5::CqeTail tail{static_cast<uint16_t>(at_.executed), opcode, owner};
    auto* cqe = static_cast<mlx5::Cqe*>(qp_.cq) + slot;
    if (qp_.cq_mode == CqMode::owner_bit) p_.write_data(cqe, sizeof(*cqe));
    if (opcode == mlx5::CqeOpcode::requester_error) {
      p_.store<Scope::sys, Order::relaxed>(&cqe->error_word.raw, Be32::of(kSyndrome).raw);
    }
    // pairs with the poller's acquire
    p_.store<Scope::sys, Order::release>(&cqe->tail.raw, tail.word().raw);
  }

  const SimPlatform& p_;
  const DeviceQp& qp_;
  const RingScenario& scenario_;
  Position at_{};
};

}  // namespace ringer::sim
