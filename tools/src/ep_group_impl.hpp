// SPDX-License-Identifier: Apache-2.0
// What an EpGroup is made of: ep_group.cpp makes and runs it, ep_group_results.cpp judges it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ringer/soft/soft_backend.hpp>

#include "ep_launcher.hpp"
#include "ep_memory.hpp"
#include "ep_reference.hpp"
#include "ep_runner.hpp"
#include "nic_assignment.hpp"

namespace ringer::tools {

/// The buffers of this process's ranks. All close their peers' windows before the first one goes:
/// see ep::Buffer.
struct RankBuffers : std::vector<std::unique_ptr<ep::Buffer>> {
  RankBuffers() = default;
  RankBuffers(const RankBuffers&) = delete;
  RankBuffers& operator=(const RankBuffers&) = delete;
  ~RankBuffers() {
    for (const auto& buffer : *this) {
      if (buffer) buffer->close_peers();
    }
  }
};

struct EpGroup::Impl {
  explicit Impl(const EpOptions& given);
  ~Impl();

  std::unique_ptr<EpLauncher> make_launcher();
  std::unique_ptr<Backend> make_backend();
  std::unique_ptr<Backend> make_nics(EpLauncher& on);
  void place_windows(EpLauncher& on);
  std::string windows_trouble(EpLauncher& on, Backend& nics) const;
  std::vector<RankPlace> places(const EpLauncher& on, const NodeFacts& facts) const;
  void set_up();
  void prepare(uint64_t iteration);
  double launch(EpOp op, ep::Phases phases);
  void run_dispatch(PhaseTimes& times);
  void run_experts();
  void run_combine(PhaseTimes& times);
  void download(EpOp op);
  EpSamples sample(EpOp op, uint32_t launches);
  bool pump();
  void expect_absence();
  /// An exchange that breaks in `step` is what follows from `failed_here`, if that is anything.
  void with_reason(const std::function<void()>& step);
  void require_health(const char* name);
  void conclude(EpIteration& result);

  EpOptions options;
  std::string windows_text;  // why windows lie where they do
  std::string failed_here;   // in this process, of several
  ep::Layout layout;
  std::unique_ptr<EpLauncher> launcher;
  sim::Fabric fabric;
  std::unique_ptr<Backend> backend;
  std::optional<sim::NicThread> nic_thread;
  // Of this process's ranks:
  RankBuffers buffers;
  std::vector<FifoProxy*> proxies;
  std::optional<FifoProxyThreads> proxy_threads;
  std::vector<RankMemory> memory;
  std::vector<ep::DispatchArgs> dispatch_args;
  std::vector<ep::CombineArgs> combine_args;
  // Of all ranks:
  std::vector<RankInput> inputs;
  uint32_t queue_pairs = 0;
};

}  // namespace ringer::tools
