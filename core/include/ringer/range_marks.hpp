// SPDX-License-Identifier: Apache-2.0
// How the posters of a shared queue publish without waiting for each other: a mark at the first
// slot of each written range says where the range ends.
#pragma once

#include <ringer/config.hpp>
#include <ringer/device_qp.hpp>
#include <ringer/platform.hpp>
#include <ringer/types.hpp>

namespace ringer {

/// `count` consecutive WQEs from index `base`, one basic block each.
struct WqeRange {
  uint64_t base = 0;
  uint32_t count = 0;
  RINGER_HD constexpr uint64_t end() const { return base + count; }
};

struct Reserved {
  Status status;
  WqeRange range;
};

/// Marks that a platform looks at together, in one round trip to memory.
template <class P>
constexpr uint32_t marks_at_once() {
  if constexpr (requires { P::kMarksAtOnce; }) {
    return P::kMarksAtOnce;
  } else {
    return 8;
  }
}

/// Marks are indices, which only grow: what an earlier lap has left in a slot is not above the
/// index that has the slot now, and neither is what lies in the middle of a longer range.
template <Platform P, Scope kScope>
class RangeMarks {
 public:
  static constexpr uint32_t kAtOnce = marks_at_once<P>();
  struct Look {
    uint64_t first;  ///< index whose slot ends[0] belongs to
    uint64_t ends[kAtOnce];
  };

  RINGER_HD RangeMarks(P p, const DeviceQp& qp)
      : p_(p), ends_(qp.range_ends), wqebbs_(qp.sq_wqebbs) {}

  /// Releases what was written to the slots of the range; pairs with look_at().
  RINGER_HD void set(const WqeRange& range) const {
    p_.template store<kScope, Order::release>(at(range.base), range.end());
  }

  RINGER_HD bool has(uint64_t first) const {
    return guard(p_, "marks.newer", p_.template load<kScope, Order::relaxed>(at(first)) > first);
  }

  /// The marks from `first` on. Relaxed where an acquiring fence follows before their slots matter.
  template <Order kOrder>
  RINGER_HD Look look_at(uint64_t first) const {
    Look look{first, {}};
    RINGER_UNROLL
    for (uint32_t i = 0; i < kAtOnce; ++i) {
      look.ends[i] = p_.template load<kScope, kOrder>(at(first + i));  // pairs with set()
    }
    return look;
  }

  /// Where the marked ranges that begin at look.first end.
  template <Order kOrder>
  RINGER_HD uint64_t end_of(Look look) const {
    for (;;) {
      uint64_t end = look.first;
      RINGER_UNROLL
      for (uint32_t i = 0; i < kAtOnce; ++i) {
        if (end == look.first + i && look.ends[i] > end) end = look.ends[i];
      }
      if (end < look.first + kAtOnce) return end;
      look = look_at<kOrder>(end);
    }
  }
  template <Order kOrder>
  RINGER_HD uint64_t end_of(uint64_t first) const {
    return end_of<kOrder>(look_at<kOrder>(first));
  }

  /// The word that says whether a range begins at `first`.
  RINGER_HD uint64_t* at(uint64_t first) const { return ends_ + slot_of(first, wqebbs_); }

 private:
  P p_;
  uint64_t* ends_;
  uint32_t wqebbs_;
};

}  // namespace ringer
