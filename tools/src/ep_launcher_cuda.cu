// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <ringer/cuda/check.cuh>
#include <ringer/cuda/cuda_memory.hpp>

#include "ep_launcher.hpp"
#include "ep_runner.hpp"
#include "together.hpp"

namespace ringer::tools {

namespace {

using cuda::check;

// Ranks that share a GPU need a hardware queue each, and no module may load while one of them
// spins.
void prepare_environment() {
  setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32", 0);
  setenv("CUDA_MODULE_LOADING", "EAGER", 0);
}

using Event = std::unique_ptr<CUevent_st, decltype(&cudaEventDestroy)>;

Event make_event() {
  cudaEvent_t event = nullptr;
  check(cudaEventCreate(&event), "cudaEventCreate");
  return {event, &cudaEventDestroy};
}

double elapsed_us(const Event& begin, const Event& end) {
  float ms = 0;
  check(cudaEventElapsedTime(&ms, begin.get(), end.get()), "cudaEventElapsedTime");
  return double{ms} * 1e3;
}

/// One rank's stream on its GPU.
struct RankStream {
  int device;
  std::unique_ptr<CUstream_st, decltype(&cudaStreamDestroy)> stream;
};

/// A recorded sequence of launches on one rank, with an event before the first and after each.
struct Recording {
  std::unique_ptr<CUgraphExec_st, decltype(&cudaGraphExecDestroy)> graph{nullptr,
                                                                         &cudaGraphExecDestroy};
  std::vector<Event> events;
};

// How many ranks of this host come before this process's first.
uint32_t ranks_before(const EpOptions& options) {
  const uint64_t host = host_identity();
  const auto hosts = all_values<uint64_t>(options.processes, {&host, 1});
  const uint32_t before = options.first_rank() / options.local_ranks();
  return static_cast<uint32_t>(std::count(hosts.begin(), hosts.begin() + before, host)) *
         options.local_ranks();
}

uint32_t require_gpus() {
  const char* trouble = "";
  const uint32_t devices = cuda::count_gpus(&trouble);
  if (devices == 0) throw BackendError(std::string("device cuda: ") + trouble);
  return devices;
}

/// Which GPU a rank is on, the same for all processes.
struct DeviceId {
  explicit DeviceId(int device) {
    cudaDeviceProp properties;
    check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
    std::memcpy(bytes, &properties.uuid, sizeof(bytes));
  }
  DeviceId() = default;
  bool operator==(const DeviceId& other) const {
    return std::memcmp(bytes, other.bytes, sizeof(bytes)) == 0;
  }
  char bytes[16];
};

class CudaLauncher : public EpLauncher {
 public:
  explicit CudaLauncher(const EpOptions& options) : options_(options) {
    const uint32_t first = ranks_before(options);  // collective: before anything that may fail
    prepare_environment();
    const uint32_t devices = require_gpus();
    for (uint32_t r = 0; r < options.local_ranks(); ++r) {
      const auto device = static_cast<int>((first + r) % devices);
      check(cudaSetDevice(device), "cudaSetDevice");
      cudaStream_t stream = nullptr;
      check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
      streams_.push_back({device, {stream, &cudaStreamDestroy}});
    }
    CudaLauncher::place_windows(options.windows == EpWindows::gpu);
  }

  void place_windows(bool on_gpu) override {
    memories_.clear();
    for (const RankStream& rank : streams_) {
      memories_.push_back(cuda::make_cuda_memory(
          rank.device, on_gpu ? cuda::WindowPlacement::gpu : cuda::WindowPlacement::pinned_host));
    }
  }

  std::string gpu_address(uint32_t local_rank) const override {
    char address[16] = "";
    check(cudaDeviceGetPCIBusId(address, sizeof(address), streams_[local_rank].device),
          "cudaDeviceGetPCIBusId");
    // As sysfs has it.
    std::string text = address;
    std::transform(text.begin(), text.end(), text.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text;
  }

  void share_devices() override {
    std::vector<DeviceId> mine;
    for (const RankStream& rank : streams_) mine.emplace_back(rank.device);
    const auto all = all_values<DeviceId>(options_.processes, mine);
    ptrdiff_t sharers = 1;
    for (const DeviceId& device : mine) {
      sharers = std::max(sharers, std::count(all.begin(), all.end(), device));
    }
    shape_ = ep::widest_launch(ep::make_layout(options_.config), static_cast<uint32_t>(sharers));
    if (options_.blocks != 0) shape_.blocks = std::min(shape_.blocks, options_.blocks);
    if (options_.warps_per_block != 0) {
      shape_.warps_per_block = std::min(shape_.warps_per_block, options_.warps_per_block);
    }
  }

  KernelMemory& memory(uint32_t local_rank) override { return *memories_[local_rank]; }

  double run(EpOp op, ep::Phases phases, const EpArgs& args) override {
    std::vector<Event> begins, ends;
    start_together(options_.processes);
    for (uint32_t r = 0; r < streams_.size(); ++r) {
      use(r);
      begins.push_back(make_event());
      ends.push_back(make_event());
      check(cudaEventRecord(begins.back().get(), stream(r)), "cudaEventRecord");
      launch(op, phases, args, r);
      check(cudaEventRecord(ends.back().get(), stream(r)), "cudaEventRecord");
    }
    wait(to_string(op, phases));
    double slowest = 0;
    for (uint32_t r = 0; r < streams_.size(); ++r) {
      slowest = std::max(slowest, elapsed_us(begins[r], ends[r]));
    }
    return slowest;
  }

  EpSamples sample(EpOp op, bool split, const EpArgs& args, uint32_t launches) override {
    EpSamples samples;
    while (samples.total.size() * launches_per_sample(split) < launches) {
      sample_round(op, split, args, std::min(launches, kLaunchesPerRound), samples);
    }
    return samples;
  }

 private:
  cudaStream_t stream(uint32_t rank) const { return streams_[rank].stream.get(); }
  void use(uint32_t rank) const { check(cudaSetDevice(streams_[rank].device), "cudaSetDevice"); }

  // An event between two kernels keeps them apart for about 2 us, so phases are timed one by one
  // and whole operations ten at a time.
  static uint32_t launches_per_sample(bool split) { return split ? 1 : 10; }

  // Launching a graph may wait until the GPU has taken its first kernels, and those may wait for
  // the other ranks' graphs: no graph may be longer than what is taken at once.
  static constexpr uint32_t kLaunchesPerRound = 50;

  void sample_round(EpOp op, bool split, const EpArgs& args, uint32_t launches,
                    EpSamples& samples) const {
    const uint32_t together = launches_per_sample(split);
    const uint32_t count = (launches + together - 1) / together;
    std::vector<Recording> recordings;
    for (uint32_t r = 0; r < streams_.size(); ++r) {
      recordings.push_back(record(op, split, args, r, count, together));
    }
    start_together(options_.processes);
    for (uint32_t r = 0; r < streams_.size(); ++r) {
      use(r);
      check(cudaGraphLaunch(recordings[r].graph.get(), stream(r)), "cudaGraphLaunch");
    }
    wait(to_string(op, ep::Phases::both));
    const auto slowest = [&](size_t interval) {
      double us = 0;
      for (const Recording& r : recordings) {
        us = std::max(us, elapsed_us(r.events[interval], r.events[interval + 1]));
      }
      return us / together;
    };
    for (size_t i = 0; i + 1 < recordings[0].events.size(); i += split ? 2 : 1) {
      double total = slowest(i);
      if (split) {
        samples.send.push_back(total);
        samples.receive.push_back(slowest(i + 1));
        total += samples.receive.back();
      }
      samples.total.push_back(total);
    }
  }

  void wait(const char* what) const {
    for (uint32_t r = 0; r < streams_.size(); ++r) check(cudaStreamSynchronize(stream(r)), what);
  }

  void launch(EpOp op, ep::Phases phases, const EpArgs& args, uint32_t r) const {
    if (op == EpOp::dispatch) {
      ep::launch_dispatch(args.dispatch[r], phases, shape_, stream(r));
    } else {
      ep::launch_combine(args.combine[r], phases, shape_, stream(r));
    }
  }

  Recording record(EpOp op, bool split, const EpArgs& args, uint32_t r, uint32_t count,
                   uint32_t together) const {
    use(r);
    Recording recording;
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    const auto mark = [&] {
      recording.events.push_back(make_event());
      check(cudaEventRecordWithFlags(recording.events.back().get(), stream(r),
                                     cudaEventRecordExternal),
            "cudaEventRecordWithFlags");
    };
    check(cudaStreamBeginCapture(stream(r), cudaStreamCaptureModeThreadLocal),
          "cudaStreamBeginCapture");
    mark();
    for (uint32_t i = 0; i < count; ++i) {
      if (split) {
        launch(op, ep::Phases::send, args, r);
        mark();
        launch(op, ep::Phases::receive, args, r);
      } else {
        for (uint32_t j = 0; j < together; ++j) launch(op, ep::Phases::both, args, r);
      }
      mark();
    }
    check(cudaStreamEndCapture(stream(r), &graph), "cudaStreamEndCapture");
    const cudaError_t error = cudaGraphInstantiate(&executable, graph, 0);
    cudaGraphDestroy(graph);
    check(error, "cudaGraphInstantiate");
    recording.graph.reset(executable);
    return recording;
  }

  EpOptions options_;
  std::vector<std::unique_ptr<KernelMemory>> memories_;
  std::vector<RankStream> streams_;
  ep::LaunchShape shape_{};
};

}  // namespace

std::unique_ptr<EpLauncher> make_cuda_launcher(const EpOptions& options) {
  return std::make_unique<CudaLauncher>(options);
}

}  // namespace ringer::tools
