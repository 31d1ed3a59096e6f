// SPDX-License-Identifier: Apache-2.0
#include "agreement.hpp"

#include <iterator>

#include <ringer/channel.hpp>
#include <ringer/ep/args.hpp>

namespace ringer::ep {

namespace {

// What decides where a rank writes at its peers, and what it waits for.
constexpr const char* kNames[] = {"layout of shared structures",
                                  "layout of messages",
                                  "ranks",
                                  "max_tokens",
                                  "hidden",
                                  "topk",
                                  "experts_per_rank",
                                  "dtype",
                                  "flags",
                                  "start_epoch"};

struct Shared {
  uint64_t values[std::size(kNames)];
};

Shared shared(const Config& c) {
  return {{kChannelStamp, sizeof(Layout) << 32 | sizeof(MessageHeader), c.ranks, c.max_tokens,
           c.hidden, c.topk, c.experts_per_rank, static_cast<uint64_t>(c.dtype),
           static_cast<uint64_t>(c.flags), c.start_epoch}};
}

}  // namespace

void require_same(Exchange& exchange, const Config& config) {
  const Shared mine = shared(config);
  const std::vector<Shared> all = all_gather_value(exchange, mine);
  collective_step(exchange, [&] {
    for (size_t i = 0; i < std::size(kNames); ++i) {
      if (mine.values[i] == all[0].values[i]) continue;
      throw BackendError(std::string(kNames[i]) + " is " + std::to_string(mine.values[i]) +
                         ", but " + std::to_string(all[0].values[i]) + " on rank 0");
    }
  });
}

}  // namespace ringer::ep
