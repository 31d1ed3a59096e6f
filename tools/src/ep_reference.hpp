// SPDX-License-Identifier: Apache-2.0
// The serial oracle of dispatch and combine: no queues, no warps, no ordering.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <ringer/ep/args.hpp>
#include <ringer/ep/config.hpp>

#include "routing.hpp"

namespace ringer::tools {

/// What a rank brings to one call.
struct RankInput {
  RankRouting routing;
  std::vector<uint16_t> x;  ///< [tokens][hidden] BF16
};

RankInput make_input(const ep::Config& config, const Routing& routing, uint32_t rank,
                     uint64_t seed);

/// The experts of this project's runs: element by element, different for each expert,
/// deterministic.
uint16_t expert_output(uint32_t expert, float value);

/// Sums up differences; keeps the first one in words.
struct Differences {
  uint64_t count = 0;
  std::string first;
  void add(const std::string& where) {
    if (count++ == 0) first = where;
  }
};

/// Order-sensitive hash of bytes; chained through `hash`.
uint64_t hash_bytes(uint64_t hash, const void* data, size_t bytes);

/// Expected results of one call of all ranks.
class EpReference {
 public:
  EpReference(const ep::Config& config, std::span<const RankInput> inputs);

  /// Compares what `rank` received with what the inputs say it must have received: exactly those
  /// rows, each once, byte for byte. Chains the rows, in canonical order, into `digest`.
  void check_dispatch(uint32_t rank, const ep::DispatchArgs& got, Differences& differences,
                      uint64_t& digest) const;

  /// Compares the combined tokens of `rank` bit for bit.
  void check_combine(uint32_t rank, const uint16_t* out, Differences& differences) const;

  /// Messages that all ranks together dispatch.
  uint64_t messages() const;

 private:
  // First entry of a token's row that names `expert`, or -1.
  int entry_of(uint32_t rank, uint32_t token, uint32_t expert) const;
  const uint8_t* payload(uint32_t rank, uint32_t token) const {
    return encoded_[rank].data() + size_t{token} * (layout_.payload_bytes + layout_.scale_bytes);
  }

  ep::Config config_;
  ep::Layout layout_;
  std::span<const RankInput> inputs_;
  std::vector<std::vector<uint8_t>> encoded_;  // per rank: [tokens][payload, scales]
};

}  // namespace ringer::tools
