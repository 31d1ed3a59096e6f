// SPDX-License-Identifier: Apache-2.0
// A dispatched token as it travels: header, expert row, payload, scales.
#pragma once

#include <cstring>

#include <ringer/ep/args.hpp>
#include <ringer/ep/numeric.hpp>
#include <ringer/simt.hpp>

namespace ringer::ep {

/// Quantises one group of 128 channels to E4M3; stores its scale as `dtype` says.
RINGER_HD inline void quantize_group(const uint16_t* x, uint32_t group, Dtype dtype,
                                     uint8_t* payload, uint8_t* scales) {
  const uint16_t* from = x + size_t{group} * kScaleGroup;
  float amax = 0;
  for (uint32_t i = 0; i < kScaleGroup; ++i) {
    const float magnitude = float_of(bits_of(bf16_to_float(from[i])) & 0x7fffffffu);
    if (magnitude > amax) amax = magnitude;
  }
  GroupScale scale;
  if (dtype == Dtype::fp8) {
    scale = group_scale(amax);
    std::memcpy(scales + size_t{group} * 4, &scale.dequantize, 4);
  } else {
    scale = group_scale_ue8m0(amax, scales + group);
  }
  for (uint32_t i = 0; i < kScaleGroup; ++i) {
    payload[size_t{group} * kScaleGroup + i] =
        float_to_e4m3(bf16_to_float(from[i]) * scale.quantize);
  }
}

/// Payload and scales of one token, a warp at a time.
template <Warp W>
RINGER_HD void encode_token(const W& w, const uint16_t* x, const Layout& layout, Dtype dtype,
                            uint8_t* payload, uint8_t* scales) {
  if (dtype == Dtype::bf16) {
    w.strided(layout.payload_bytes / 16, [&](uint64_t i) {
      std::memcpy(payload + i * 16, reinterpret_cast<const uint8_t*>(x) + i * 16, 16);
    });
    return;
  }
  w.strided(layout.hidden / kScaleGroup, [&](uint64_t group) {
    quantize_group(x, static_cast<uint32_t>(group), dtype, payload, scales);
  });
}

/// Channel `i` of an encoded token.
RINGER_HD inline float decode_channel(const uint8_t* payload, const uint8_t* scales, Dtype dtype,
                                      uint32_t i) {
  if (dtype == Dtype::bf16) {
    uint16_t value;
    std::memcpy(&value, payload + size_t{i} * 2, 2);
    return bf16_to_float(value);
  }
  const uint32_t group = i / kScaleGroup;
  float scale;
  if (dtype == Dtype::fp8) {
    std::memcpy(&scale, scales + size_t{group} * 4, 4);
  } else {
    scale = ue8m0_to_float(scales[group]);
  }
  return e4m3_to_float(payload[i]) * scale;
}

/// The whole message of one token.
template <Warp W>
RINGER_HD void write_message(const W& w, uint8_t* message, const MessageHeader& header,
                             const int32_t* row, const uint16_t* x, const Layout& layout,
                             Dtype dtype) {
  w.leader([&] { std::memcpy(message, &header, sizeof(header)); });
  w.strided(layout.topk, [&](uint64_t k) {
    std::memcpy(message + sizeof(header) + k * sizeof(int32_t), row + k, sizeof(int32_t));
  });
  uint8_t* payload = message + layout.payload_offset;
  encode_token(w, x, layout, dtype, payload, payload + layout.payload_bytes);
}

}  // namespace ringer::ep
