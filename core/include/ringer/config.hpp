// SPDX-License-Identifier: Apache-2.0
// The only header outside *.cuh and *.cu that asks which compiler is at work.
#pragma once

#include <cassert>

#if defined(__CUDACC__)
#define RINGER_HD __host__ __device__
/// Put before a template on `Platform`: host platforms are then usable from a host/device template
/// without nvcc's "calling a __host__ function" warning.
#define RINGER_EXEC_CHECK_DISABLE _Pragma("nv_exec_check_disable")
#else
#define RINGER_HD
#define RINGER_EXEC_CHECK_DISABLE
#endif

/// States an invariant of Ringer's own code. User errors are statuses or exceptions, never this.
#define RINGER_ASSERT(condition) assert(condition)
