// SPDX-License-Identifier: Apache-2.0
// The only header outside *.cuh and *.cu that asks which compiler is at work.
#pragma once

#include <cassert>

#if defined(__CUDACC__)
#define RINGER_HD __host__ __device__
#else
#define RINGER_HD
#endif

/// Before a loop that must be unrolled for its arrays to stay in registers, or by `n` for its loads
/// to overlap.
#if defined(__CUDA_ARCH__)
#define RINGER_PRAGMA(text) _Pragma(#text)
#define RINGER_UNROLL RINGER_PRAGMA(unroll)
#define RINGER_UNROLL_BY(n) RINGER_PRAGMA(unroll n)
#else
#define RINGER_UNROLL
#define RINGER_UNROLL_BY(n)
#endif

/// States an invariant of Ringer's own code. User errors are statuses or exceptions, never this.
#define RINGER_ASSERT(condition) assert(condition)
