// SPDX-License-Identifier: Apache-2.0
// Who must see a store, and in which order. Both are named at every shared access.
#pragma once

#include <cstdint>

namespace ringer {

/// The observers that an access synchronises with. `sys` includes the NIC's DMA and the host.
enum class Scope : uint8_t { cta, gpu, sys };

enum class Order : uint8_t { relaxed, acquire, release, acq_rel };

}  // namespace ringer
