// SPDX-License-Identifier: Apache-2.0
// The only header outside *.cuh and *.cu that asks which compiler is at work.
#pragma once

#include <cassert>

#if defined(__CUDACC__)
#define RINGER_HD __host__ __device__
#else
#define RINGER_HD
#endif

// RINGER_UNROLL stands before a loop that must be unrolled for its arrays to stay in registers,
// RINGER_UNROLL_BY before one whose loads should overlap.
#if defined(__CUDA_ARCH__)
#define RINGER_PRAGMA(text) _Pragma(#text)
#define RINGER_UNROLL RINGER_PRAGMA(unroll)
#define RINGER_UNROLL_BY(n) RINGER_PRAGMA(unroll n)
#define RINGER_DEVICE_CODE true
#else
#define RINGER_UNROLL
#define RINGER_UNROLL_BY(n)
#define RINGER_DEVICE_CODE false
#endif

// A function that is rarely called and must not swell its callers. What it takes by reference would
// leave the callers' registers, so it takes values.
#if defined(__CUDACC__)
#define RINGER_OUT_OF_LINE __noinline__
#else
#define RINGER_OUT_OF_LINE [[gnu::noinline]]
#endif

// Swaps the bytes of a 32-bit word in one instruction.
#if defined(__CUDA_ARCH__)
#define RINGER_BYTESWAP32(word) __byte_perm(word, 0, 0x0123)
#else
#define RINGER_BYTESWAP32(word) __builtin_bswap32(word)
#endif

#if defined(__SANITIZE_THREAD__)
#define RINGER_THREAD_SANITIZER true
#elif defined(__has_feature)
#define RINGER_THREAD_SANITIZER __has_feature(thread_sanitizer)
#else
#define RINGER_THREAD_SANITIZER false
#endif

namespace ringer {
/// Whether the code at hand is being compiled for a GPU.
inline constexpr bool kDeviceCode = RINGER_DEVICE_CODE;
/// Whether it is instrumented by ThreadSanitizer.
inline constexpr bool kThreadSanitizer = RINGER_THREAD_SANITIZER;
}  // namespace ringer

/// States an invariant of Ringer's own code. User errors are statuses or exceptions, never this.
#define RINGER_ASSERT(condition) assert(condition)
