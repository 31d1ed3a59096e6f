// SPDX-License-Identifier: Apache-2.0
#include <ringer/sim/violations.hpp>

namespace ringer::sim {

const char* to_string(ViolationKind kind) {
  switch (kind) {
    case ViolationKind::doorbell_malformed:
      return "malformed doorbell";
    case ViolationKind::dbr_behind_doorbell:
      return "doorbell record behind the doorbell";
    case ViolationKind::dbr_receive_slot_written:
      return "receive slot of the doorbell record written";
    case ViolationKind::producer_beyond_ring:
      return "producer index beyond the ring";
    case ViolationKind::wqe_index_mismatch:
      return "WQE index does not match its slot";
    case ViolationKind::wqe_malformed:
      return "malformed WQE";
    case ViolationKind::wqe_changed:
      return "WQE changed after the doorbell";
    case ViolationKind::doorbell_missing:
      return "no doorbell after its record";
    case ViolationKind::cq_overrun:
      return "completion queue overrun";
  }
  return "unknown violation";
}

std::string to_string(const Violation& v) {
  return "nic " + std::to_string(v.nic) + " qpn " + std::to_string(v.qpn) + " index " +
         std::to_string(v.index) + ": " + to_string(v.kind) + ": " + v.detail;
}

void ViolationLog::report(Violation violation) {
  const std::lock_guard lock(mutex_);
  if (kept_.size() < kKept) kept_.push_back(std::move(violation));
  count_.fetch_add(1, std::memory_order_release);
}

std::vector<Violation> ViolationLog::first() const {
  const std::lock_guard lock(mutex_);
  return kept_;
}

}  // namespace ringer::sim
