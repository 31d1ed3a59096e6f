// SPDX-License-Identifier: Apache-2.0
#include "ep_reference.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include <ringer/ep/kernel_context.hpp>
#include <ringer/ep/numeric.hpp>

#include "random.hpp"

namespace ringer::tools {

namespace {

constexpr uint32_t kChannelsPerScale = 128;
constexpr float kLargestE4m3 = 448.0f;

/// E4M3 by its definition: all finite values in order, and rounding by search. Shares nothing with
/// the kernels' bit tricks.
class E4m3 {
 public:
  E4m3() {
    for (int code = 0; code < kCodes; ++code) {
      const int exponent = code >> 3;
      const int mantissa = code & 7;
      values_[code] = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                                    : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
    }
  }
  float decode(uint8_t code) const {
    const float magnitude = values_[code & 0x7f];
    return (code & 0x80) != 0 ? -magnitude : magnitude;
  }
  uint8_t encode(float value) const {
    const float magnitude = std::min(std::fabs(value), kLargestE4m3);
    const float* above = std::upper_bound(values_, values_ + kCodes, magnitude);
    auto code = static_cast<int>(above - values_) - 1;
    if (above != values_ + kCodes) {
      const float down = magnitude - values_[code];
      const float up = *above - magnitude;
      if (up < down || (up == down && code % 2 != 0)) ++code;
    }
    return static_cast<uint8_t>(code | (std::signbit(value) ? 0x80 : 0));
  }

 private:
  static constexpr int kCodes = 127;
  float values_[kCodes] = {};
};

const E4m3 kE4m3;

float scale_of(const uint8_t* scales, uint32_t group, ep::Dtype dtype) {
  if (dtype == ep::Dtype::fp8_ue8m0) return std::ldexp(1.0f, scales[group] - 127);
  float scale;
  std::memcpy(&scale, scales + size_t{group} * sizeof(scale), sizeof(scale));
  return scale;
}

void quantize(const uint16_t* x, uint32_t group, ep::Dtype dtype, uint8_t* payload,
              uint8_t* scales) {
  const uint32_t first = group * kChannelsPerScale;
  float amax = 1e-4f;
  for (uint32_t i = first; i < first + kChannelsPerScale; ++i) {
    amax = std::max(amax, std::fabs(bf16_to_float(x[i])));
  }
  float multiplier = kLargestE4m3 / amax;
  const float scale = amax / kLargestE4m3;
  if (dtype == ep::Dtype::fp8) {
    std::memcpy(scales + size_t{group} * sizeof(scale), &scale, sizeof(scale));
  } else {
    int exponent;
    const float fraction = std::frexp(scale, &exponent);  // scale = fraction * 2^exponent, >= 0.5
    if (fraction == 0.5f) --exponent;
    scales[group] = static_cast<uint8_t>(exponent + 127);
    multiplier = std::ldexp(1.0f, -exponent);
  }
  for (uint32_t i = first; i < first + kChannelsPerScale; ++i) {
    payload[i] = kE4m3.encode(bf16_to_float(x[i]) * multiplier);
  }
}

// BF16 has no scales, and no bytes may have no address.
bool equal_bytes(const uint8_t* a, const uint8_t* b, size_t bytes) {
  return bytes == 0 || std::memcmp(a, b, bytes) == 0;
}

}  // namespace

RankInput make_input(const ep::Config& config, const Routing& routing, uint32_t rank,
                     uint64_t seed) {
  RankInput input;
  input.routing =
      routing.make({config.ranks, config.max_tokens, config.topk, config.experts()}, rank, seed);
  Random random(Random::mix(seed) + rank);
  input.x.resize(size_t{input.routing.tokens} * config.hidden);
  for (uint16_t& value : input.x) {
    value = float_to_bf16(static_cast<float>(random.unit() * 8.0 - 4.0));
  }
  return input;
}

uint16_t expert_output(uint32_t expert, float value) {
  const float gain = 1.0f + static_cast<float>(expert % 13) / 16.0f;
  return float_to_bf16(value * gain);
}

uint64_t hash_bytes(uint64_t hash, const void* data, size_t bytes) {
  const auto* at = static_cast<const uint8_t*>(data);
  for (; bytes >= 8; bytes -= 8, at += 8) {
    uint64_t word;
    std::memcpy(&word, at, 8);
    hash = (hash ^ word) * 0x9fb21c651e98df25u;
    hash ^= hash >> 32;
  }
  for (; bytes > 0; --bytes, ++at) hash = (hash ^ *at) * 0x100000001b3u;
  return hash;
}

EpReference::EpReference(const ep::Config& config, std::span<const RankInput> inputs)
    : config_(config), layout_(ep::make_layout(config)), inputs_(inputs), encoded_(inputs.size()) {
  const size_t stride = layout_.payload_bytes + layout_.scale_bytes;
  for (size_t r = 0; r < inputs.size(); ++r) {
    const uint32_t tokens = inputs[r].routing.tokens;
    encoded_[r].resize(tokens * stride);
    for (uint32_t t = 0; t < tokens; ++t) {
      const uint16_t* x = inputs[r].x.data() + size_t{t} * config.hidden;
      uint8_t* to = encoded_[r].data() + t * stride;
      if (config.dtype == ep::Dtype::bf16) {
        std::memcpy(to, x, layout_.payload_bytes);
        continue;
      }
      for (uint32_t g = 0; g < config.hidden / kChannelsPerScale; ++g) {
        quantize(x, g, config.dtype, to, to + layout_.payload_bytes);
      }
    }
  }
}

int EpReference::entry_of(uint32_t rank, uint32_t token, uint32_t expert) const {
  const int32_t* row = inputs_[rank].routing.experts.data() + size_t{token} * config_.topk;
  for (uint32_t k = 0; k < config_.topk; ++k) {
    if (row[k] == static_cast<int32_t>(expert)) return static_cast<int>(k);
  }
  return -1;
}

void EpReference::check_dispatch(uint32_t rank, const ep::DispatchArgs& got,
                                 Differences& differences, uint64_t& digest) const {
  constexpr int64_t kAbsent = -1;
  std::vector<int64_t> row_of;  // token of one source -> row
  for (uint32_t local = 0; local < config_.experts_per_rank; ++local) {
    const uint32_t expert = rank * config_.experts_per_rank + local;
    uint64_t received = 0;
    for (uint32_t source = 0; source < config_.ranks; ++source) {
      const std::string where = "rank " + std::to_string(rank) + " expert " +
                                std::to_string(expert) + " from rank " + std::to_string(source);
      const uint64_t range = got.recv_ranges[local * config_.ranks + source];
      const uint32_t tokens = inputs_[source].routing.tokens;
      received += ep::low_half(range);
      row_of.assign(tokens, kAbsent);
      for (uint32_t i = 0; i < ep::low_half(range); ++i) {
        const uint64_t row = local * layout_.rows_per_expert() + ep::high_half(range) + i;
        const uint32_t token = got.source_info[row].token;
        if (token >= tokens || row_of[token] != kAbsent) {
          differences.add(where + ": token " + std::to_string(token) +
                          " unknown or received twice");
          continue;
        }
        row_of[token] = static_cast<int64_t>(row);
      }
      for (uint32_t token = 0; token < tokens; ++token) {
        const int k = entry_of(source, token, expert);
        if ((k < 0) != (row_of[token] == kAbsent)) {
          differences.add(where + ": token " + std::to_string(token) +
                          (k < 0 ? " not sent here" : " missing"));
          continue;
        }
        if (k < 0) continue;
        const auto row = static_cast<uint64_t>(row_of[token]);
        const uint8_t* x = got.recv_x + row * layout_.payload_bytes;
        const uint8_t* scales = got.recv_scales + row * layout_.scale_bytes;
        const uint8_t* expected = payload(source, token);
        digest = hash_bytes(digest, x, layout_.payload_bytes);
        digest = hash_bytes(digest, scales, layout_.scale_bytes);
        if (got.source_info[row].k != static_cast<uint32_t>(k) ||
            !equal_bytes(x, expected, layout_.payload_bytes) ||
            !equal_bytes(scales, expected + layout_.payload_bytes, layout_.scale_bytes)) {
          differences.add(where + ": token " + std::to_string(token) + " differs");
        }
      }
    }
    if (received != got.recv_count[local]) {
      differences.add("rank " + std::to_string(rank) + " expert " + std::to_string(expert) +
                      ": recv_count is not the sum of its ranges");
    }
  }
}

void EpReference::check_combine(uint32_t rank, const uint16_t* out,
                                Differences& differences) const {
  const RankInput& input = inputs_[rank];
  std::vector<float> decoded(config_.hidden);
  std::vector<float> sum(config_.hidden);
  std::vector<float> of_rank(config_.hidden);
  std::vector<uint16_t> expected(config_.hidden);
  for (uint32_t token = 0; token < input.routing.tokens; ++token) {
    const uint8_t* x = payload(rank, token);
    for (uint32_t i = 0; i < config_.hidden; ++i) {
      decoded[i] = config_.dtype == ep::Dtype::bf16
                       ? bf16_to_float(inputs_[rank].x[size_t{token} * config_.hidden + i])
                       : kE4m3.decode(x[i]) * scale_of(x + layout_.payload_bytes,
                                                       i / kChannelsPerScale, config_.dtype);
    }
    std::fill(sum.begin(), sum.end(), 0.0f);
    const size_t at = size_t{token} * config_.topk;
    const auto rank_of = [&](uint32_t k) {
      const int32_t expert = input.routing.experts[at + k];
      return expert < 0 ? -1 : expert / static_cast<int32_t>(config_.experts_per_rank);
    };
    // Ranks in the order of their first entries; each rank's rows by themselves, then its sum.
    for (uint32_t first = 0; first < config_.topk; ++first) {
      bool is_first = rank_of(first) >= 0;
      for (uint32_t k = 0; k < first; ++k) is_first = is_first && rank_of(k) != rank_of(first);
      if (!is_first) continue;
      std::fill(of_rank.begin(), of_rank.end(), 0.0f);
      for (uint32_t k = first; k < config_.topk; ++k) {
        if (rank_of(k) != rank_of(first)) continue;
        const auto expert = static_cast<uint32_t>(input.routing.experts[at + k]);
        for (uint32_t i = 0; i < config_.hidden; ++i) {
          const float product =
              input.routing.weights[at + k] * bf16_to_float(expert_output(expert, decoded[i]));
          of_rank[i] = of_rank[i] + product;
        }
      }
      for (uint32_t i = 0; i < config_.hidden; ++i) sum[i] = sum[i] + of_rank[i];
    }
    for (uint32_t i = 0; i < config_.hidden; ++i) expected[i] = float_to_bf16(sum[i]);
    if (std::memcmp(expected.data(), out + size_t{token} * config_.hidden, layout_.combine_bytes) !=
        0) {
      differences.add("combine: rank " + std::to_string(rank) + " token " + std::to_string(token) +
                      " differs");
    }
  }
}

uint64_t EpReference::messages() const {
  uint64_t count = 0;
  for (const RankInput& input : inputs_) {
    for (uint32_t token = 0; token < input.routing.tokens; ++token) {
      const int32_t* row = input.routing.experts.data() + size_t{token} * config_.topk;
      for (uint32_t k = 0; k < config_.topk; ++k) {
        count += row[k] >= 0 && ep::first_of(row, k) == k ? 1 : 0;
      }
    }
  }
  return count;
}

}  // namespace ringer::tools
