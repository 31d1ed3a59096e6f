// SPDX-License-Identifier: Apache-2.0
// Who must see a store, and in which order. Both are named at every shared access.
#pragma once

namespace ringer {

/// The observers that an access synchronises with. `sys` includes the NIC's DMA and the host.
enum class Scope { cta, gpu, sys };

enum class Order { relaxed, acquire, release, acq_rel };

}  // namespace ringer
