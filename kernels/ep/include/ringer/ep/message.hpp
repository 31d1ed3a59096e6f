// SPDX-License-Identifier: Apache-2.0
// A dispatched token as it travels: header, expert row, payload, scales.
#pragma once

#include <cstring>

#include <ringer/bytes.hpp>
#include <ringer/ep/args.hpp>
#include <ringer/ep/numeric.hpp>
#include <ringer/simt.hpp>

namespace ringer::ep {

/// Channels in a lane's 16 bytes of BF16.
inline constexpr uint32_t kLaneChannels = 8;

/// Channel `i` of eight. Taken from whole words: a load split into channels would lose its width.
RINGER_HD inline float channel_of(const Chunk16& channels, uint32_t i) {
  const uint32_t word = channels.words[i / 2];
  return float_of(i % 2 == 0 ? word << 16 : word & 0xffff0000u);
}

/// Eight floats as BF16.
RINGER_HD inline Chunk16 round_channels(const float* values) {
  Chunk16 channels;
  for (uint32_t i = 0; i < 4; ++i) {
    channels.words[i] =
        uint32_t{float_to_bf16(values[2 * i])} | (uint32_t{float_to_bf16(values[2 * i + 1])} << 16);
  }
  return channels;
}

/// Largest magnitude; a NaN does not count.
RINGER_HD inline float largest_magnitude(const Chunk16& channels) {
  float amax = 0;
  for (uint32_t i = 0; i < kLaneChannels; ++i) {
    const float magnitude = float_of(bits_of(channel_of(channels, i)) & 0x7fffffffu);
    if (magnitude > amax) amax = magnitude;
  }
  return amax;
}

template <Warp W>
RINGER_HD uint64_t to_e4m3(const W& w, const Chunk16& channels, float factor) {
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < kLaneChannels; i += 2) {
    const uint16_t pair =
        w.e4m3_pair(channel_of(channels, i) * factor, channel_of(channels, i + 1) * factor);
    bytes |= uint64_t{pair} << (8 * i);
  }
  return bytes;
}

/// Payload and scales of one token, by the warps of a share together.
template <Warp W>
RINGER_HD void encode_token(const W& w, WarpShare share, const uint16_t* x, const Layout& layout,
                            Dtype dtype, uint8_t* payload, uint8_t* scales) {
  if (dtype == Dtype::bf16) {
    w.copy(share, payload, x, layout.payload_bytes);
    return;
  }
  w.template tiles<kScaleGroup / kLaneChannels>(
      share, layout.hidden / kScaleGroup,
      [&](uint32_t group, uint32_t part) {
        return load_as<Chunk16>(x + size_t{group} * kScaleGroup + part * kLaneChannels);
      },
      [](const Chunk16& channels) { return largest_magnitude(channels); },
      [&](uint32_t group, uint32_t part, const Chunk16& channels, float amax) {
        uint8_t exponent = 0;
        const GroupScale scale =
            dtype == Dtype::fp8 ? group_scale(amax) : group_scale_ue8m0(amax, &exponent);
        store_as<uint64_t>(payload + size_t{group} * kScaleGroup + part * kLaneChannels,
                           to_e4m3(w, channels, scale.quantize));
        if (part != 0) return;
        if (dtype == Dtype::fp8) {
          store_as<float>(scales + size_t{group} * sizeof(float), scale.dequantize);
        } else {
          scales[group] = exponent;
        }
      });
}

/// A message in shared memory or in a window, by its parts.
struct Message {
  const uint8_t* bytes;
  const Layout& layout;

  RINGER_HD MessageHeader header() const { return load_as<MessageHeader>(bytes); }
  RINGER_HD int32_t expert(uint32_t k) const {
    return load_as<int32_t>(bytes + sizeof(MessageHeader) + k * sizeof(int32_t));
  }
  RINGER_HD uint32_t position(uint32_t k) const {
    return load_as<uint32_t>(bytes + sizeof(MessageHeader) + (layout.topk + k) * sizeof(int32_t));
  }
  RINGER_HD float weight(uint32_t k) const {
    return load_as<float>(bytes + sizeof(MessageHeader) + (2 * layout.topk + k) * sizeof(float));
  }
  RINGER_HD const uint8_t* payload() const { return bytes + layout.payload_offset; }
  RINGER_HD const uint8_t* scales() const { return payload() + layout.payload_bytes; }
  /// The first entry with the expert of entry `k`: it alone has a position.
  RINGER_HD uint32_t first_of(uint32_t k) const {
    uint32_t first = 0;
    while (expert(first) != expert(k)) ++first;
    return first;
  }
  /// Entry `k` names an expert, and no entry before it the same.
  RINGER_HD bool names(uint32_t k) const { return expert(k) >= 0 && first_of(k) == k; }
  RINGER_HD uint32_t rank_of(uint32_t k) const {
    return static_cast<uint32_t>(expert(k)) / layout.experts_per_rank;
  }
  /// First row of the expert of entry `k`, counted through all experts of its rank.
  RINGER_HD uint64_t first_row(uint32_t k) const {
    return static_cast<uint32_t>(expert(k)) % layout.experts_per_rank * layout.rows_per_expert();
  }
  /// No entry before `k` names an expert of the same rank.
  RINGER_HD bool first_of_rank(uint32_t k) const {
    for (uint32_t j = 0; j < k; ++j) {
      if (expert(j) >= 0 && rank_of(j) == rank_of(k)) return false;
    }
    return true;
  }
};

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

}  // namespace ringer::ep
