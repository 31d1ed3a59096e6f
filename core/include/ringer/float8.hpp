// SPDX-License-Identifier: Apache-2.0
// BF16 and FP8 E4M3 by their bits, so that host, simulator and GPU agree to the last one.
#pragma once

#include <cstdint>
#include <cstring>

#include <ringer/config.hpp>

namespace ringer {

RINGER_HD inline uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

RINGER_HD inline float float_of(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

RINGER_HD inline float bf16_to_float(uint16_t v) { return float_of(uint32_t{v} << 16); }

/// Round to nearest, ties to even; NaN stays NaN.
RINGER_HD inline uint16_t float_to_bf16(float value) {
  const uint32_t bits = bits_of(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

/// Largest finite E4M3 value.
inline constexpr float kE4m3Max = 448.0f;

RINGER_HD inline float e4m3_to_float(uint8_t v) {
  const uint32_t sign = uint32_t{v & 0x80u} << 24;
  const uint32_t exponent = (v >> 3) & 0xf;
  const uint32_t mantissa = v & 7;
  if (exponent == 0xf && mantissa == 7) return float_of(sign | 0x7fc00000u);
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-9f;
    return float_of(sign | bits_of(magnitude));
  }
  return float_of(sign | ((exponent + 120) << 23) | (mantissa << 20));
}

/// Round to nearest, ties to even; beyond the largest finite value saturates, NaN is 0x7f: as
/// the GPU's cvt.rn.satfinite does it.
RINGER_HD inline uint8_t float_to_e4m3(float value) {
  const uint32_t bits = bits_of(value);
  const uint32_t sign = (bits >> 24) & 0x80;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return 0x7f;
  if (magnitude < 0x3c800000u) {
    // Below 2^-6 the spacing is 2^-9, which is the spacing of floats at 2^14: adding rounds.
    const float rounded = float_of(magnitude) + 0x1p14f;
    return static_cast<uint8_t>(sign | (bits_of(rounded) - bits_of(0x1p14f)));
  }
  const uint32_t rounded = magnitude + 0x7ffff + ((magnitude >> 20) & 1);
  const uint32_t code = (rounded >> 20) - (120u << 3);
  return static_cast<uint8_t>(sign | (code > 0x7e ? 0x7e : code));
}

}  // namespace ringer
