// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <exception>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <thread>

#include <ringer/ep/message.hpp>

#include "ep_group_impl.hpp"
#include "nic_backends.hpp"
#include "random.hpp"
#include "together.hpp"

namespace ringer::tools {

namespace {

// Proxies share this many threads: the machine has other work, too.
constexpr uint32_t kProxyThreads = 2;

sim::NicConfig nic_config(const EpOptions& options, EpLauncher& launcher) {
  sim::NicConfig config = options.nic;
  config.memory = &launcher.memory(0);
  return config;
}

}  // namespace

EpGroup::Impl::Impl(const EpOptions& given)
    : options(given),
      layout(ep::make_layout(given.config)),
      launcher(make_launcher()),
      fabric(nic_config(given, *launcher)),
      backend(make_backend()) {
  together(options.processes, [this] {
    set_up();
    for (const auto& buffer : buffers) {
      for (FifoProxy* proxy : buffer->proxies()) proxies.push_back(proxy);
      memory.emplace_back(launcher->memory(static_cast<uint32_t>(memory.size())), options.config,
                          layout);
    }
  });
  for (const auto& buffer : buffers) queue_pairs += buffer->queue_pairs();
  const auto all = all_values<uint32_t>(options.processes, {&queue_pairs, 1});
  queue_pairs = std::accumulate(all.begin(), all.end(), 0u);
  if (!options.deterministic) {
    nic_thread.emplace(fabric);
    proxy_threads.emplace(proxies, kProxyThreads);
  }
}

std::unique_ptr<EpLauncher> EpGroup::Impl::make_launcher() {
  std::unique_ptr<EpLauncher> made;
  together(options.processes, [&] {
    made = options.device == EpDevice::cuda
               ? make_cuda_launcher(options)
               : make_host_launcher(options, [this] { return pump(); });
  });
  made->share_devices();
  if (options.device == EpDevice::cuda) place_windows(*made);
  return made;
}

// GPU memory is where kernels are fastest, if whoever writes there reaches it: peers that map it,
// or NICs that take its registration. All processes place their windows alike.
void EpGroup::Impl::place_windows(EpLauncher& on) {
  if (options.windows != EpWindows::automatic) return;
  bool on_gpu = options.shared_memory_only();
  if (!on_gpu && options.backend != EpBackend::sim) {
    const auto nics = make_nics(on);
    std::string trouble;
    together(options.processes, [&] {
      on.place_windows(true);
      trouble = windows_trouble(on, *nics);
    });
    for (const std::string& text : all_texts(options.processes, trouble)) {
      if (trouble.empty()) trouble = text;
    }
    on_gpu = trouble.empty();
    windows_text = on_gpu ? "windows in GPU memory, which the NICs take\n"
                          : "windows in pinned host memory: " + trouble + "\n";
  }
  options.windows = on_gpu ? EpWindows::gpu : EpWindows::host;
  together(options.processes, [&] { on.place_windows(on_gpu); });
}

// Why a rank's NIC does not take memory of the rank's GPU; nothing if all of this process do.
std::string EpGroup::Impl::windows_trouble(EpLauncher& on, Backend& nics) const {
  constexpr size_t kProbeBytes = 65536;
  for (uint32_t r = 0; r < options.local_ranks(); ++r) {
    const auto nic = nics.open_nic(options.first_rank() + r);
    try {
      const KernelArray<uint8_t> probe(on.memory(r), kProbeBytes, MemoryUse::window);
      nic->register_memory(probe.data(), probe.size(), access::all, &on.memory(r));
    } catch (const BackendError& e) {
      return e.what();
    }
  }
  return {};
}

std::unique_ptr<Backend> EpGroup::Impl::make_backend() {
  if (options.backend == EpBackend::sim) return std::make_unique<soft::SoftBackend>(fabric);
  return make_nics(*launcher);
}

// Real ones, or those that stand in for them.
std::unique_ptr<Backend> EpGroup::Impl::make_nics(EpLauncher& on) {
  NodeFacts facts;
  std::vector<RankPlace> mine;
  together(options.processes, [&] {
    facts = probe_node(options.topology.empty() ? machine_root() : recorded_root(options.topology));
    if (!options.topology.empty() && (facts.gpus.empty() || facts.hcas.empty())) {
      throw UsageError("--topology: '" + options.topology +
                       "' has no GPUs in sys/bus/pci/devices, or no HCAs in sys/class/infiniband");
    }
    mine = places(on, facts);
  });
  const std::vector<RankPlace> all = all_values<RankPlace>(options.processes, mine);
  std::unique_ptr<Backend> made;
  together(options.processes, [&] { made = make_nic_backend(options.backend, all, facts); });
  return made;
}

// Of this process's ranks.
std::vector<RankPlace> EpGroup::Impl::places(const EpLauncher& on, const NodeFacts& facts) const {
  std::vector<RankPlace> found;
  for (uint32_t r = 0; r < options.local_ranks(); ++r) {
    std::string gpu = on.gpu_address(r);
    const size_t stands_for = options.first_rank() + r;
    if (gpu.empty() && !options.topology.empty() && !facts.gpus.empty()) {
      gpu = facts.gpus[stands_for % facts.gpus.size()].address();
    }
    found.push_back(rank_place(gpu));
  }
  return found;
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
  const uint32_t ranks = options.local_ranks();
  const uint32_t per_node =
      options.ranks_per_node == 0 ? options.config.ranks : options.ranks_per_node;
  LocalGroup group =
      options.processes == nullptr ? LocalGroup(ranks) : LocalGroup(ranks, *options.processes);
  buffers.resize(ranks);
  std::vector<std::exception_ptr> errors(ranks);
  {
    std::vector<std::jthread> threads;
    for (uint32_t r = 0; r < ranks; ++r) {
      threads.emplace_back([&, r] {
        try {
          const auto exchange = group.join(r);
          const ep::RankPlacement placement{exchange->rank() / per_node, options.path,
                                            options.path_override, &launcher->memory(r)};
          buffers[r] = std::make_unique<ep::Buffer>(*exchange, *backend, options.config, placement);
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
  for (uint32_t r = 0; r < buffers.size(); ++r) {
    const RankInput& input = inputs[buffers[r]->rank()];
    const uint32_t tokens = input.routing.tokens;
    const ep::CommonArgs common = buffers[r]->common_args();
    memory[r].upload(input);
    dispatch_args.push_back(memory[r].dispatch_args(common, tokens));
    combine_args.push_back(memory[r].combine_args(common, tokens, options.zero_copy));
  }
}

double EpGroup::Impl::launch(EpOp op, ep::Phases phases) {
  std::vector<double> us(1);
  with_reason([&] {
    together(options.processes, [&] {
      us[0] = launcher->run(op, phases, {dispatch_args, combine_args});
      expect_absence();
    });
    require_health(to_string(op, phases));
    raise_to_slowest(options.processes, us);
  });
  return us[0];
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
      memory[r].download_combine(inputs[buffers[r]->rank()].routing.tokens);
    }
  }
}

void EpGroup::Impl::run_experts() {
  const ep::Config& config = options.config;
  for (uint32_t r = 0; r < memory.size(); ++r) {
    const RankMemory::Arrays& m = memory[r].host();
    for (uint32_t local = 0; local < config.experts_per_rank; ++local) {
      const uint32_t expert = buffers[r]->rank() * config.experts_per_rank + local;
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
  EpSamples samples;
  with_reason([&] {
    together(options.processes, [&] {
      samples = launcher->sample(op, options.split_phases, {dispatch_args, combine_args}, launches);
      expect_absence();
    });
    require_health(to_string(op, ep::Phases::both));
  });
  raise_to_slowest(options.processes, samples.send);
  raise_to_slowest(options.processes, samples.receive);
  raise_to_slowest(options.processes, samples.total);
  for (size_t i = 0; i < samples.send.size(); ++i) {
    samples.total[i] = samples.send[i] + samples.receive[i];
  }
  download(op);
  return samples;
}

}  // namespace ringer::tools
