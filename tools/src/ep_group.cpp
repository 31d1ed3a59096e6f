// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <exception>
#include <optional>
#include <stdexcept>
#include <thread>

#include <ringer/ep/message.hpp>
#include <ringer/soft/soft_backend.hpp>

#include "ep_launcher.hpp"
#include "ep_memory.hpp"
#include "ep_reference.hpp"
#include "ep_runner.hpp"
#include "random.hpp"

namespace ringer::tools {

namespace {

// Proxies share this many threads: the machine has other work, too.
constexpr uint32_t kProxyThreads = 2;

}  // namespace

struct EpGroup::Impl {
  explicit Impl(const EpOptions& given);
  ~Impl();

  void set_up();
  void prepare(uint64_t iteration);
  double launch(EpOp op, ep::Phases phases);
  void run_dispatch(PhaseTimes& times);
  void run_experts();
  void run_combine(PhaseTimes& times);
  void download(EpOp op);
  EpSamples sample(EpOp op, uint32_t launches);
  void check(EpIteration& result);
  void conclude(EpIteration& result);
  bool pump();
  void require_health(const char* name);

  EpOptions options;
  ep::Layout layout;
  std::unique_ptr<EpLauncher> launcher;
  sim::Fabric fabric;
  soft::SoftBackend backend{fabric};
  std::optional<sim::NicThread> nic_thread;
  std::vector<std::unique_ptr<ep::Buffer>> buffers;
  std::vector<FifoProxy*> proxies;
  std::optional<FifoProxyThreads> proxy_threads;
  std::vector<RankMemory> memory;
  std::vector<RankInput> inputs;
  std::vector<ep::DispatchArgs> dispatch_args;
  std::vector<ep::CombineArgs> combine_args;
};

namespace {

sim::NicConfig nic_config(const EpOptions& options, EpLauncher& launcher) {
  sim::NicConfig config = options.nic;
  config.memory = &launcher.memory(0);
  return config;
}

}  // namespace

EpGroup::Impl::Impl(const EpOptions& given)
    : options(given),
      layout(ep::make_layout(given.config)),
      launcher(given.device == EpDevice::cuda
                   ? make_cuda_launcher(given)
                   : make_host_launcher(given, [this] { return pump(); })),
      fabric(nic_config(given, *launcher)) {
  set_up();
  for (const auto& buffer : buffers) {
    for (FifoProxy* proxy : buffer->proxies()) proxies.push_back(proxy);
    memory.emplace_back(launcher->memory(buffer->rank()), options.config, layout);
  }
  if (!options.deterministic) {
    nic_thread.emplace(fabric);
    proxy_threads.emplace(proxies, kProxyThreads);
  }
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
          const ep::RankPlacement placement{r / per_node, options.path, options.path_override,
                                            &launcher->memory(r)};
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
    const uint32_t tokens = inputs[r].routing.tokens;
    const ep::CommonArgs common = buffers[r]->common_args();
    memory[r].upload(inputs[r]);
    dispatch_args.push_back(memory[r].dispatch_args(common, tokens));
    combine_args.push_back(memory[r].combine_args(common, tokens, options.zero_copy));
  }
}

double EpGroup::Impl::launch(EpOp op, ep::Phases phases) {
  const double elapsed_us = launcher->run(op, phases, {dispatch_args, combine_args});
  require_health(to_string(op, phases));
  return elapsed_us;
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
  if (options.split_phases) {
    times.dispatch_send_us = launch(EpOp::dispatch, ep::Phases::send);
    times.dispatch_receive_us = launch(EpOp::dispatch, ep::Phases::receive);
    times.dispatch_us = times.dispatch_send_us + times.dispatch_receive_us;
  } else {
    times.dispatch_us = launch(EpOp::dispatch, ep::Phases::both);
  }
  download(EpOp::dispatch);
}

void EpGroup::Impl::run_combine(PhaseTimes& times) {
  if (options.split_phases) {
    times.combine_send_us = launch(EpOp::combine, ep::Phases::send);
    times.combine_receive_us = launch(EpOp::combine, ep::Phases::receive);
    times.combine_us = times.combine_send_us + times.combine_receive_us;
  } else {
    times.combine_us = launch(EpOp::combine, ep::Phases::both);
  }
  download(EpOp::combine);
}

// Makes what an operation has written readable by the host.
void EpGroup::Impl::download(EpOp op) {
  for (size_t r = 0; r < memory.size(); ++r) {
    if (op == EpOp::dispatch) {
      memory[r].download_dispatch();
    } else {
      memory[r].download_combine(inputs[r].routing.tokens);
    }
  }
}

void EpGroup::Impl::run_experts() {
  const ep::Config& config = options.config;
  for (uint32_t r = 0; r < config.ranks; ++r) {
    const RankMemory::Arrays& m = memory[r].host();
    for (uint32_t local = 0; local < config.experts_per_rank; ++local) {
      const uint32_t expert = r * config.experts_per_rank + local;
      const size_t first = local * layout.rows_per_expert();
      for (size_t row = first; row < first + m.recv_count.data()[local]; ++row) {
        const uint8_t* x = m.recv_x.data() + row * layout.payload_bytes;
        const uint8_t* scales = m.recv_scales.data() + row * layout.scale_bytes;
        uint16_t* y = m.y.data() + row * config.hidden;
        for (uint32_t i = 0; i < config.hidden; ++i) {
          y[i] = expert_output(expert, ep::decode_channel(x, scales, config.dtype, i));
        }
      }
      memory[r].upload_results(local,
                               options.zero_copy ? buffers[r]->combine_stage(local) : nullptr);
    }
  }
}

void EpGroup::Impl::check(EpIteration& result) {
  const EpReference reference(options.config, inputs);
  Differences dispatch, combine;
  for (uint32_t r = 0; r < options.config.ranks; ++r) {
    const uint16_t* out = memory[r].host().out.data();
    reference.check_dispatch(r, memory[r].host_dispatch_args(), dispatch, result.digest);
    reference.check_combine(r, out, combine);
    result.digest =
        hash_bytes(result.digest, out, size_t{inputs[r].routing.tokens} * layout.combine_bytes);
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
  i.conclude(result);
  return result;
}

EpBench EpGroup::bench(uint32_t launches) {
  Impl& i = *impl_;
  EpBench bench;
  i.prepare(0);
  i.run_dispatch(bench.result.times);  // loads and warms what it needs
  bench.dispatch = i.sample(EpOp::dispatch, launches);
  i.run_experts();
  i.run_combine(bench.result.times);
  bench.combine = i.sample(EpOp::combine, launches);
  i.conclude(bench.result);
  return bench;
}

EpSamples EpGroup::Impl::sample(EpOp op, uint32_t launches) {
  const EpSamples samples =
      launcher->sample(op, options.split_phases, {dispatch_args, combine_args}, launches);
  require_health(to_string(op, ep::Phases::both));
  download(op);
  return samples;
}

void EpGroup::Impl::conclude(EpIteration& result) {
  uint64_t rows = 0;
  for (const RankMemory& m : memory) {
    for (uint32_t local = 0; local < options.config.experts_per_rank; ++local)
      rows += m.host().recv_count.data()[local];
  }
  result.messages = rows;
  result.dispatch_bytes = rows * (layout.payload_bytes + layout.scale_bytes) / options.config.ranks;
  result.combine_bytes = rows * layout.combine_bytes / options.config.ranks;
  if (options.check) check(result);
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
