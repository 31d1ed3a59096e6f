// SPDX-License-Identifier: Apache-2.0
// Access flags of memory registrations.
#pragma once

#include <cerrno>
#include <cstdint>

#include <rdma/ib_user_ioctl_verbs.h>

#include "verbs_error.hpp"

namespace ringer::sim::verbs {

inline constexpr uint32_t kKnownAccess =
    IB_UVERBS_ACCESS_LOCAL_WRITE | IB_UVERBS_ACCESS_REMOTE_WRITE | IB_UVERBS_ACCESS_REMOTE_READ |
    IB_UVERBS_ACCESS_REMOTE_ATOMIC | IB_UVERBS_ACCESS_MW_BIND | IB_UVERBS_ACCESS_ZERO_BASED |
    IB_UVERBS_ACCESS_ON_DEMAND | IB_UVERBS_ACCESS_HUGETLB | IB_UVERBS_ACCESS_OPTIONAL_RANGE;

/// Ends the call with EINVAL unless these rights go together, and all are in `allowed`.
inline void check_access(uint32_t flags, uint32_t allowed = kKnownAccess) {
  constexpr uint32_t kNeedLocalWrite =
      IB_UVERBS_ACCESS_REMOTE_WRITE | IB_UVERBS_ACCESS_REMOTE_ATOMIC;
  require((flags & ~allowed) == 0, EINVAL);
  require((flags & kNeedLocalWrite) == 0 || (flags & IB_UVERBS_ACCESS_LOCAL_WRITE) != 0, EINVAL);
}

}  // namespace ringer::sim::verbs
