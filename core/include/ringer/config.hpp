// SPDX-License-Identifier: Apache-2.0
// The only header outside *.cuh and *.cu that asks which compiler is at work.
#pragma once

#include <cassert>

#if defined(__CUDACC__)
#define RINGER_HD __host__ __device__
#else
#define RINGER_HD
#endif

/// States an invariant of Ringer's own code. User errors are statuses or exceptions, never this.
#define RINGER_ASSERT(condition) assert(condition)
