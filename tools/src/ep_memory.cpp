// SPDX-License-Identifier: Apache-2.0
#include "ep_memory.hpp"

#include <span>

namespace ringer::tools {

RankMemory::Arrays::Arrays(KernelMemory& memory, const ep::Config& config,
                           const ep::Layout& layout) {
  const size_t rows = size_t{config.experts_per_rank} * layout.rows_per_expert();
  recv_x = {memory, rows * layout.payload_bytes};
  recv_scales = {memory, rows * layout.scale_bytes};
  source_info = {memory, rows};
  recv_ranges = {memory, size_t{config.experts_per_rank} * config.ranks};
  recv_count = {memory, config.experts_per_rank};
  entries = {memory, size_t{config.ranks} * config.max_tokens * config.topk};
  entry_tokens = {memory, config.ranks};
  y = {memory, rows * config.hidden};
  out = {memory, size_t{config.max_tokens} * config.hidden};
}

RankMemory::RankMemory(KernelMemory& memory, const ep::Config& config, const ep::Layout& layout)
    : memory_(memory),
      layout_(layout),
      arrays_(memory, config, layout),
      x_(memory, size_t{config.max_tokens} * config.hidden),
      experts_(memory, size_t{config.max_tokens} * config.topk),
      weights_(memory, size_t{config.max_tokens} * config.topk),
      mirrored_(!memory.host_reachable()) {
  if (mirrored_) mirror_ = Arrays(host_memory(), config, layout);
}

void RankMemory::upload(const RankInput& input) {
  x_.write(input.x);
  experts_.write(input.routing.experts);
  weights_.write(input.routing.weights);
}

void RankMemory::download_dispatch() {
  if (!mirrored_) return;
  const auto all = [](auto& from, auto& to) { from.read({to.data(), to.size()}); };
  all(arrays_.recv_ranges, mirror_.recv_ranges);
  all(arrays_.recv_count, mirror_.recv_count);
  for (uint32_t local = 0; local < layout_.experts_per_rank; ++local) {
    const size_t first = local * layout_.rows_per_expert();
    const size_t rows = mirror_.recv_count.data()[local];
    const auto some = [first, rows](auto& from, auto& to, size_t per_row) {
      from.read({to.data() + first * per_row, rows * per_row}, first * per_row);
    };
    some(arrays_.recv_x, mirror_.recv_x, layout_.payload_bytes);
    some(arrays_.recv_scales, mirror_.recv_scales, layout_.scale_bytes);
    some(arrays_.source_info, mirror_.source_info, 1);
  }
}

void RankMemory::download_combine(uint32_t tokens) {
  if (mirrored_) arrays_.out.read({mirror_.out.data(), size_t{tokens} * layout_.hidden});
}

void RankMemory::upload_results(uint32_t local_expert, uint16_t* stage) {
  const size_t first = local_expert * layout_.rows_per_expert() * layout_.hidden;
  const size_t values = size_t{host().recv_count.data()[local_expert]} * layout_.hidden;
  uint16_t* to = stage != nullptr ? stage : arrays_.y.data() + first;
  const uint16_t* from = host().y.data() + first;
  if (values != 0 && to != from) memory_.write(to, from, values * sizeof(*from));
}

ep::DispatchArgs RankMemory::dispatch_args(const ep::CommonArgs& common, uint32_t tokens) const {
  return {common,
          tokens,
          x_.data(),
          experts_.data(),
          weights_.data(),
          arrays_.recv_x.data(),
          arrays_.recv_scales.data(),
          arrays_.source_info.data(),
          arrays_.recv_ranges.data(),
          arrays_.recv_count.data(),
          arrays_.entries.data(),
          arrays_.entry_tokens.data()};
}

ep::CombineArgs RankMemory::combine_args(const ep::CommonArgs& common, uint32_t tokens,
                                         bool zero_copy) const {
  return {common,
          tokens,
          zero_copy ? nullptr : arrays_.y.data(),
          experts_.data(),
          weights_.data(),
          arrays_.source_info.data(),
          arrays_.recv_ranges.data(),
          arrays_.entries.data(),
          arrays_.entry_tokens.data(),
          arrays_.out.data()};
}

ep::DispatchArgs RankMemory::host_dispatch_args() const {
  ep::DispatchArgs args{};
  args.recv_x = host().recv_x.data();
  args.recv_scales = host().recv_scales.data();
  args.source_info = host().source_info.data();
  args.recv_ranges = host().recv_ranges.data();
  args.recv_count = host().recv_count.data();
  return args;
}

}  // namespace ringer::tools
