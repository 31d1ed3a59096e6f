// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>
#include <exception>
#include <optional>
#include <stdexcept>
#include <thread>

#include <ringer/ep/combine.hpp>
#include <ringer/ep/dispatch.hpp>
#include <ringer/sim/simt_executor.hpp>
#include <ringer/soft/soft_backend.hpp>

#include "ep_reference.hpp"
#include "ep_runner.hpp"
#include "lazy_array.hpp"
#include "random.hpp"

namespace ringer::tools {

namespace {

using Clock = std::chrono::steady_clock;

// Proxies share this many threads: the machine has other work, too.
constexpr uint32_t kProxyThreads = 2;

double microseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

/// What a rank's kernels read and write besides the window.
struct RankMemory {
  RankMemory(const ep::Config& config, const ep::Layout& layout, bool zero_copy) {
    const size_t rows = size_t{config.experts_per_rank} * layout.rows_per_expert();
    recv_x = LazyArray<uint8_t>(rows * layout.payload_bytes);
    recv_scales = LazyArray<uint8_t>(rows * layout.scale_bytes);
    source_info = LazyArray<ep::SourceInfo>(rows);
    recv_ranges = LazyArray<uint64_t>(size_t{config.experts_per_rank} * config.ranks);
    recv_count = LazyArray<uint32_t>(config.experts_per_rank);
    if (!zero_copy) y = LazyArray<uint16_t>(rows * config.hidden);
    out = LazyArray<uint16_t>(size_t{config.max_tokens} * config.hidden);
  }

  LazyArray<uint8_t> recv_x, recv_scales;
  LazyArray<ep::SourceInfo> source_info;
  LazyArray<uint64_t> recv_ranges;
  LazyArray<uint32_t> recv_count;
  LazyArray<uint16_t> y, out;
};

}  // namespace

struct EpGroup::Impl {
  explicit Impl(const EpOptions& given);
  ~Impl();

  void set_up();
  void prepare(uint64_t iteration);
  template <class Kernel>
  double launch(const char* name, Kernel kernel);
  void run_dispatch(PhaseTimes& times);
  void run_experts();
  void run_combine(PhaseTimes& times);
  void check(EpIteration& result);
  bool pump();
  void require_health(const char* name);

  EpOptions options;
  ep::Layout layout;
  sim::Fabric fabric;
  soft::SoftBackend backend{fabric};
  std::optional<sim::NicThread> nic_thread;
  std::vector<std::unique_ptr<ep::Buffer>> buffers;
  std::vector<FifoProxy*> proxies;
  std::optional<FifoProxyThreads> proxy_threads;
  std::unique_ptr<sim::SimtExecutor> executor;
  std::vector<RankMemory> memory;
  std::vector<RankInput> inputs;
  std::vector<ep::DispatchArgs> dispatch_args;
  std::vector<ep::CombineArgs> combine_args;
};

EpGroup::Impl::Impl(const EpOptions& given)
    : options(given), layout(ep::make_layout(given.config)), fabric(given.nic) {
  if (options.blocks == 0 || options.warps_per_block == 0 ||
      options.warps_per_block > ep::kMaxWarpsPerBlock) {
    throw std::invalid_argument("launch of " + std::to_string(options.blocks) + " blocks of " +
                                std::to_string(options.warps_per_block) +
                                " warps; there must be at least one block of 1 to 32 warps");
  }
  set_up();
  for (const auto& buffer : buffers) {
    for (FifoProxy* proxy : buffer->proxies()) proxies.push_back(proxy);
    memory.emplace_back(options.config, layout, options.zero_copy);
  }
  sim::SimtOptions simt;
  simt.seed = options.schedule_seed;
  if (options.deterministic) {
    simt.pump = [this] { return pump(); };
  } else {
    nic_thread.emplace(fabric);
    proxy_threads.emplace(proxies, kProxyThreads);
  }
  executor = std::make_unique<sim::SimtExecutor>(std::move(simt));
}

// Nothing may be under way when windows go: everything posted has been waited for by some rank's
// flags, so this ends at once unless a rank has failed.
EpGroup::Impl::~Impl() {
  proxy_threads.reset();
  constexpr int kTurns = 1000;
  for (int turn = 0; turn < kTurns; ++turn) {
    bool quiet = true;
    for (const auto& buffer : buffers) quiet = buffer->quiet() && quiet;
    if (quiet) break;
    pump();
  }
}

void EpGroup::Impl::set_up() {
  const uint32_t ranks = options.config.ranks;
  const uint32_t per_node = options.ranks_per_node == 0 ? ranks : options.ranks_per_node;
  LocalGroup group(ranks);
  buffers.resize(ranks);
  std::vector<std::exception_ptr> errors(ranks);
  {
    std::vector<std::jthread> threads;
    for (uint32_t r = 0; r < ranks; ++r) {
      threads.emplace_back([&, r] {
        try {
          const auto exchange = group.join(r);
          const ep::RankPlacement placement{r / per_node, options.path, options.path_override};
          buffers[r] = std::make_unique<ep::Buffer>(*exchange, backend, options.config, placement);
          exchange->all_gather({});  // nobody leaves before all are through
        } catch (...) {
          errors[r] = std::current_exception();
        }
      });
    }
  }
  for (const auto& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

bool EpGroup::Impl::pump() {
  bool moved = fabric.step(options.pump_wqes);
  for (FifoProxy* proxy : proxies) moved = proxy->step() || moved;
  return moved;
}

void EpGroup::Impl::prepare(uint64_t iteration) {
  inputs.clear();
  dispatch_args.clear();
  combine_args.clear();
  for (uint32_t r = 0; r < options.config.ranks; ++r) {
    inputs.push_back(
        make_input(options.config, *options.routing, r, Random::mix(options.seed) + iteration));
  }
  for (uint32_t r = 0; r < options.config.ranks; ++r) {
    const RankInput& in = inputs[r];
    const RankMemory& m = memory[r];
    const ep::CommonArgs common = buffers[r]->common_args();
    dispatch_args.push_back({common, in.routing.tokens, in.x.data(), in.routing.experts.data(),
                             m.recv_x.data(), m.recv_scales.data(), m.source_info.data(),
                             m.recv_ranges.data(), m.recv_count.data()});
    combine_args.push_back({common, in.routing.tokens, m.y.data(), in.routing.experts.data(),
                            in.routing.weights.data(), m.source_info.data(), m.recv_ranges.data(),
                            m.out.data()});
  }
}

// Runs `kernel(platform, warp, rank)` on all ranks together; returns microseconds.
template <class Kernel>
double EpGroup::Impl::launch(const char* name, Kernel kernel) {
  std::vector<sim::Grid> grids;
  for (uint32_t r = 0; r < options.config.ranks; ++r) {
    grids.push_back({"rank " + std::to_string(r) + " " + name, options.blocks,
                     options.warps_per_block, ep::shared_bytes(layout, options.warps_per_block),
                     [this, kernel, r](sim::SimtWarp warp) {
                       kernel(sim::FiberPlatform(*executor), warp, r);
                     }});
  }
  const auto start = Clock::now();
  const sim::LaunchReport report = executor->launch(grids);
  const double elapsed = microseconds_since(start);
  if (!report.completed) throw EpFailure(std::string(name) + ": " + report.deadlock);
  require_health(name);
  return elapsed;
}

void EpGroup::Impl::require_health(const char* name) {
  // One rank's error ends the others' waits: the one that knows a cause speaks for the group.
  const auto weight = [](const ep::Buffer& buffer) {
    const ep::FailureRecord record = buffer.failure_cause();
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
  };
  const auto worst =
      std::max_element(buffers.begin(), buffers.end(),
                       [&](const auto& a, const auto& b) { return weight(*a) < weight(*b); });
  if (weight(**worst) != 0) {
    throw EpFailure("rank " + std::to_string((*worst)->rank()) + ": " +
                    (*worst)->describe_failure());
  }
  if (fabric.violation_count() != 0) {
    throw EpFailure(std::string(name) + ": the NIC reports " +
                    std::to_string(fabric.violation_count()) +
                    " violations; the first: " + to_string(fabric.violations().front()));
  }
}

void EpGroup::Impl::run_dispatch(PhaseTimes& times) {
  const auto both = [this](auto p, auto w, uint32_t r) { ep::dispatch(p, w, dispatch_args[r]); };
  const auto send = [this](auto p, auto w, uint32_t r) {
    ep::dispatch_send(p, w, dispatch_args[r]);
  };
  const auto receive = [this](auto p, auto w, uint32_t r) {
    ep::dispatch_receive(p, w, dispatch_args[r]);
  };
  if (!options.split_phases) {
    times.dispatch_us = launch("dispatch", both);
    return;
  }
  times.dispatch_send_us = launch("dispatch send", send);
  times.dispatch_receive_us = launch("dispatch receive", receive);
  times.dispatch_us = times.dispatch_send_us + times.dispatch_receive_us;
}

void EpGroup::Impl::run_combine(PhaseTimes& times) {
  const auto both = [this](auto p, auto w, uint32_t r) { ep::combine(p, w, combine_args[r]); };
  const auto send = [this](auto p, auto w, uint32_t r) { ep::combine_send(p, w, combine_args[r]); };
  const auto receive = [this](auto p, auto w, uint32_t r) {
    ep::combine_receive(p, w, combine_args[r]);
  };
  if (!options.split_phases) {
    times.combine_us = launch("combine", both);
    return;
  }
  times.combine_send_us = launch("combine send", send);
  times.combine_receive_us = launch("combine receive", receive);
  times.combine_us = times.combine_send_us + times.combine_receive_us;
}

void EpGroup::Impl::run_experts() {
  const ep::Config& config = options.config;
  for (uint32_t r = 0; r < config.ranks; ++r) {
    const RankMemory& m = memory[r];
    for (uint32_t local = 0; local < config.experts_per_rank; ++local) {
      const uint32_t expert = r * config.experts_per_rank + local;
      const size_t first = local * layout.rows_per_expert();
      uint16_t* y =
          options.zero_copy ? buffers[r]->combine_stage(local) : m.y.data() + first * config.hidden;
      for (size_t row = 0; row < m.recv_count[local]; ++row) {
        const uint8_t* x = m.recv_x.data() + (first + row) * layout.payload_bytes;
        const uint8_t* scales = m.recv_scales.data() + (first + row) * layout.scale_bytes;
        for (uint32_t i = 0; i < config.hidden; ++i) {
          y[row * config.hidden + i] =
              expert_output(expert, ep::decode_channel(x, scales, config.dtype, i));
        }
      }
    }
  }
}

void EpGroup::Impl::check(EpIteration& result) {
  const EpReference reference(options.config, inputs);
  Differences dispatch, combine;
  for (uint32_t r = 0; r < options.config.ranks; ++r) {
    reference.check_dispatch(r, dispatch_args[r], dispatch, result.digest);
    reference.check_combine(r, memory[r].out.data(), combine);
    result.digest = hash_bytes(result.digest, memory[r].out.data(),
                               size_t{inputs[r].routing.tokens} * layout.combine_bytes);
  }
  result.messages = reference.messages();
  result.wrong_dispatch = dispatch.count;
  result.wrong_combine = combine.count;
  result.first_wrong = dispatch.count != 0 ? dispatch.first : combine.first;
}

EpGroup::EpGroup(const EpOptions& options) : impl_(std::make_unique<Impl>(options)) {}
EpGroup::~EpGroup() = default;

EpIteration EpGroup::iterate(uint64_t iteration) {
  Impl& i = *impl_;
  EpIteration result;
  i.prepare(iteration);
  i.run_dispatch(result.times);
  i.run_experts();
  i.run_combine(result.times);
  uint64_t rows = 0;
  for (const RankMemory& m : i.memory) {
    for (uint32_t local = 0; local < i.options.config.experts_per_rank; ++local)
      rows += m.recv_count[local];
  }
  result.messages = rows;
  result.dispatch_bytes =
      rows * (i.layout.payload_bytes + i.layout.scale_bytes) / i.options.config.ranks;
  result.combine_bytes = rows * i.layout.combine_bytes / i.options.config.ranks;
  if (i.options.check) i.check(result);
  return result;
}

const EpOptions& EpGroup::options() const { return impl_->options; }

std::string EpGroup::path_table() const {
  return ep::format_paths(impl_->buffers[0]->paths(), impl_->options.config.ranks);
}

std::string EpGroup::path_summary() const {
  std::string summary;
  const uint32_t ranks = impl_->options.config.ranks;
  for (uint32_t i = 0; i < ranks * ranks; ++i) {
    if (i / ranks == i % ranks) continue;
    const std::string path = ep::to_string(impl_->buffers[0]->paths()[i].path);
    if (!summary.empty() && summary != path) return "mixed";
    summary = path;
  }
  return summary.empty() ? "ipc" : summary;
}

uint32_t EpGroup::queue_pairs() const {
  uint32_t count = 0;
  for (const auto& buffer : impl_->buffers) count += buffer->queue_pairs();
  return count;
}

NicTotals EpGroup::nic_totals() const {
  NicTotals totals;
  for (uint32_t r = 0; r < impl_->options.config.ranks; ++r) {
    const sim::NicCounters& c = impl_->fabric.nic(r).counters();
    totals.doorbells += c.doorbells;
    totals.wqes += c.wqes;
    totals.cqes += c.cqes;
    totals.error_cqes += c.error_cqes;
    totals.bytes_moved += c.bytes_moved;
  }
  return totals;
}

ep::Buffer& EpGroup::buffer(uint32_t rank) { return *impl_->buffers[rank]; }
sim::Fabric& EpGroup::fabric() { return impl_->fabric; }

}  // namespace ringer::tools
