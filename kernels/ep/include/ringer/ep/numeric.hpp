// SPDX-License-Identifier: Apache-2.0
// The scales of FP8 groups.
#pragma once

#include <ringer/float8.hpp>

namespace ringer::ep {

/// Channels that share one FP8 scale.
inline constexpr uint32_t kScaleGroup = 128;
/// Smallest group maximum, so that an all-zero group has a finite scale.
inline constexpr float kMinAmax = 1e-4f;

/// Factor that a group of FP8 values was multiplied by, and its inverse as it is sent.
struct GroupScale {
  float quantize;
  float dequantize;
};

RINGER_HD inline GroupScale group_scale(float amax) {
  const float bounded = amax < kMinAmax ? kMinAmax : amax;
  return {kE4m3Max / bounded, bounded / kE4m3Max};
}

/// The same with the sent scale rounded up to a power of two; `*exponent` is its UE8M0 code.
RINGER_HD inline GroupScale group_scale_ue8m0(float amax, uint8_t* exponent) {
  const uint32_t bits = bits_of(group_scale(amax).dequantize);
  const uint32_t rounded = (bits >> 23) + ((bits & 0x7fffff) != 0 ? 1 : 0);
  const uint32_t e = rounded < 253 ? rounded : 253;  // 254 has no normal inverse, 255 is NaN
  *exponent = static_cast<uint8_t>(e);
  return {float_of((254 - e) << 23), float_of(e << 23)};
}

RINGER_HD inline float ue8m0_to_float(uint8_t exponent) {
  return float_of(uint32_t{exponent} << 23);
}

}  // namespace ringer::ep
