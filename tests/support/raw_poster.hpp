// SPDX-License-Identifier: Apache-2.0
// Posts raw WQEs to a queue pair and reads its CQEs without the library under test: what it does
// wrong, it does on purpose.
#pragma once

#include <atomic>
#include <cstring>
#include <optional>

#include <ringer/device_qp.hpp>
#include <ringer/mlx5/wire.hpp>

namespace ringer::test {

using mlx5::Wire;

struct RawCqe {
  mlx5::CqeOpcode opcode;
  uint16_t wqe_counter;
  uint32_t syndrome;
};

/// The queue pair must have an owner-bit completion queue.
class RawPoster {
 public:
  explicit RawPoster(const DeviceQp& view) : view_(view), next_(view.state->resv_head) {}

  uint64_t next() const { return next_; }
  Wire::Head head(bool signaled = true) const {
    return {next_, view_.qpn, Wire::signal_flags(signaled)};
  }
  uint8_t* slot(uint64_t index) const {
    return static_cast<uint8_t*>(view_.sq) + size_t{slot_of(index, view_.sq_wqebbs)} * kWqebbBytes;
  }

  /// Puts a WQE of one basic block into the next slot.
  void put(const Wire::Wqe& wqe) {
    std::memcpy(slot(next_), wqe.bytes, size_t{wqe.segments} * 16);
    ++next_;
  }
  /// Puts `segments` 16-byte pieces, wrapping at the end of the ring.
  void put_segments(const uint8_t* bytes, uint32_t segments) {
    const uint32_t blocks = (segments * 16 + kWqebbBytes - 1) / kWqebbBytes;
    for (uint32_t s = 0; s < segments; ++s) {
      std::memcpy(slot(next_ + s / 4) + size_t{s % 4} * 16, bytes + size_t{s} * 16, 16);
    }
    next_ += blocks;
  }

  void write_record(uint64_t index) {
    std::atomic_ref(view_.dbr[1].raw).store(Wire::dbr_value(index).raw, std::memory_order_release);
  }
  void write_doorbell(uint64_t value) {
    std::atomic_ref(*view_.doorbell).store(value, std::memory_order_release);
  }
  /// Announces everything put so far, as it should be done.
  void ring() {
    write_record(next_);
    write_doorbell(Wire::doorbell_value(next_, view_.qpn));
  }
  /// The same in libmlx5's form: the first 8 bytes of the last WQE, which begins at `last`.
  void ring_with_last_wqe(uint64_t last) {
    write_record(next_);
    uint64_t value;
    std::memcpy(&value, slot(last), 8);
    write_doorbell(value);
  }

  /// The next CQE, if there is one; frees its place.
  std::optional<RawCqe> poll() {
    auto* cqe = static_cast<mlx5::Cqe*>(view_.cq) + slot_of(taken_, view_.cq_cqes);
    const auto tail =
        mlx5::CqeTail::of({std::atomic_ref(cqe->tail.raw).load(std::memory_order_acquire)});
    if (tail.opcode == mlx5::CqeOpcode::invalid) return {};
    if (tail.owner != ((taken_ & view_.cq_cqes) != 0)) return {};
    ++taken_;
    std::atomic_ref(view_.cq_dbr[0].raw)
        .store(Wire::cq_dbr_value(taken_).raw, std::memory_order_release);
    const uint32_t syndrome = tail.is_error() ? mlx5::syndrome_of(cqe->error_word) : 0;
    return RawCqe{tail.opcode, tail.wqe_counter, syndrome};
  }

 private:
  DeviceQp view_;
  uint64_t next_;
  uint64_t taken_ = 0;
};

}  // namespace ringer::test
