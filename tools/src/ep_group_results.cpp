// SPDX-License-Identifier: Apache-2.0
// What the ranks of a group have done, over all processes: failures, differences, digest, totals.
#include <algorithm>

#include "ep_group_impl.hpp"
#include "together.hpp"

namespace ringer::tools {

namespace {

/// How much a failure explains: one rank's error ends the others' waits, and the rank that knows a
/// cause speaks for the group.
uint32_t weight_of(const ep::FailureRecord& record) {
  const bool flushed = record.syndrome == static_cast<uint32_t>(mlx5::Syndrome::flushed);
  switch (static_cast<StatusCode>(record.code)) {
    case StatusCode::ok:
      return 0;
    case StatusCode::aborted:
      return 1;
    case StatusCode::deadline:
    case StatusCode::no_credit:
      return 2;
    case StatusCode::qp_error:
      return flushed ? 3 : 5;
    case StatusCode::invalid:
      return 4;
  }
  return 0;
}

/// What a rank has found, as it travels.
struct RankResult {
  uint64_t rows;  ///< received
  uint64_t wrong_dispatch;
  uint64_t wrong_combine;
  uint64_t digest;  ///< of what it received and what it combined
};

RankResult check_rank(const EpReference& reference, uint32_t rank, const RankMemory& memory,
                      size_t out_bytes, Differences& dispatch, Differences& combine) {
  const uint64_t dispatch_before = dispatch.count, combine_before = combine.count;
  RankResult result{};
  const uint16_t* out = memory.host().out.data();
  reference.check_dispatch(rank, memory.host_dispatch_args(), dispatch, result.digest);
  reference.check_combine(rank, out, combine);
  result.digest = hash_bytes(result.digest, out, out_bytes);
  result.wrong_dispatch = dispatch.count - dispatch_before;
  result.wrong_combine = combine.count - combine_before;
  return result;
}

}  // namespace

// What has failed here may have failed for a process that is no more: the others are not waited for
// much longer than their kernels may take, and if they do not come, this is why.
void EpGroup::Impl::expect_absence() {
  constexpr uint64_t kSlackNs = 10'000'000'000;
  if (options.processes == nullptr) return;
  for (const auto& buffer : buffers) {
    if (weight_of(buffer->failure_cause()) == 0 || !failed_here.empty()) continue;
    failed_here = "rank " + std::to_string(buffer->rank()) + ": " + buffer->describe_failure();
    options.processes->lose_patience(2 * options.config.timeout_ns + kSlackNs);
  }
}

void EpGroup::Impl::with_reason(const std::function<void()>& step) {
  try {
    step();
  } catch (const SharedMark&) {
    throw;
  } catch (const BackendError& error) {
    if (failed_here.empty()) throw;
    throw EpFailure(failed_here + " (" + error.what() + ")");
  }
}

void EpGroup::Impl::require_health(const char* name) {
  struct Worst {
    uint32_t weight = 0;
    uint32_t rank = 0;
  };
  Worst worst;
  std::string text;
  for (const auto& buffer : buffers) {
    const uint32_t weight = weight_of(buffer->failure_cause());
    if (weight <= worst.weight) continue;
    worst = {weight, buffer->rank()};
    text = "rank " + std::to_string(buffer->rank()) + ": " + buffer->describe_failure();
  }
  if (worst.weight == 0 && fabric.violation_count() != 0) {
    worst.weight = 1;
    text = std::string(name) + ": the NIC reports " + std::to_string(fabric.violation_count()) +
           " violations; the first: " + to_string(fabric.violations().front());
  }
  const auto all = all_values<Worst>(options.processes, {&worst, 1});
  const auto heavier = [](const Worst& a, const Worst& b) { return a.weight < b.weight; };
  const auto cause = std::max_element(all.begin(), all.end(), heavier);
  if (cause->weight == 0) return;
  const std::string reason =
      all_texts(options.processes, text)[static_cast<size_t>(cause - all.begin())];
  together(options.processes, [&] { throw EpFailure(reason); });
}

void EpGroup::Impl::conclude(EpIteration& result) {
  Differences dispatch, combine;
  std::optional<EpReference> reference;
  if (options.check) reference.emplace(options.config, inputs);
  std::vector<RankResult> mine;
  for (size_t r = 0; r < memory.size(); ++r) {
    const uint32_t rank = buffers[r]->rank();
    const size_t out_bytes = size_t{inputs[rank].routing.tokens} * layout.combine_bytes;
    mine.push_back(reference ? check_rank(*reference, rank, memory[r], out_bytes, dispatch, combine)
                             : RankResult{});
    for (uint32_t local = 0; local < options.config.experts_per_rank; ++local) {
      mine.back().rows += memory[r].host().recv_count.data()[local];
    }
  }
  uint64_t rows = 0;
  for (const RankResult& rank : all_values<RankResult>(options.processes, mine)) {
    rows += rank.rows;
    result.wrong_dispatch += rank.wrong_dispatch;
    result.wrong_combine += rank.wrong_combine;
    // Rank by rank, so that it does not matter which process has which of them.
    if (reference) result.digest = hash_bytes(result.digest, &rank.digest, sizeof(rank.digest));
  }
  result.messages = reference ? reference->messages() : rows;
  result.dispatch_bytes = rows * (layout.payload_bytes + layout.scale_bytes) / options.config.ranks;
  result.combine_bytes = rows * layout.combine_bytes / options.config.ranks;
  const std::string& first = dispatch.count != 0 ? dispatch.first : combine.first;
  for (const std::string& text : all_texts(options.processes, first)) {
    if (result.first_wrong.empty()) result.first_wrong = text;
  }
}

const EpOptions& EpGroup::options() const { return impl_->options; }

const std::vector<ep::PathChoice>& EpGroup::paths() const { return impl_->buffers[0]->paths(); }

std::string EpGroup::path_table() const {
  return ep::format_paths(paths(), impl_->options.config.ranks);
}

std::string EpGroup::backend_text() const {
  return impl_->backend->describe() + impl_->windows_text;
}

std::string EpGroup::path_summary() const {
  std::string summary;
  const uint32_t ranks = impl_->options.config.ranks;
  for (uint32_t i = 0; i < ranks * ranks; ++i) {
    if (i / ranks == i % ranks) continue;
    const std::string path = ep::to_string(paths()[i].path);
    if (!summary.empty() && summary != path) return "mixed";
    summary = path;
  }
  return summary.empty() ? "ipc" : summary;
}

uint32_t EpGroup::queue_pairs() const { return impl_->queue_pairs; }

NicTotals EpGroup::nic_totals() {
  NicTotals mine, totals;
  const auto add = [](NicTotals& to, const auto& c) {
    to.doorbells += c.doorbells;
    to.wqes += c.wqes;
    to.cqes += c.cqes;
    to.error_cqes += c.error_cqes;
    to.bytes_moved += c.bytes_moved;
  };
  if (impl_->options.backend == EpBackend::sim) {
    for (const auto& buffer : impl_->buffers) {
      add(mine, impl_->fabric.nic(buffer->rank()).counters());
    }
  }
  for (const NicTotals& one : all_values<NicTotals>(impl_->options.processes, {&mine, 1})) {
    add(totals, one);
  }
  return totals;
}

ep::Buffer& EpGroup::buffer(uint32_t local_rank) { return *impl_->buffers[local_rank]; }
sim::Fabric& EpGroup::fabric() { return impl_->fabric; }

}  // namespace ringer::tools
