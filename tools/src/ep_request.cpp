// SPDX-License-Identifier: Apache-2.0
#include "ep_request.hpp"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "machine.hpp"
#include "processes.hpp"
#include "routing.hpp"
#include "together.hpp"

namespace ringer::tools {

namespace {

constexpr uint32_t kMaxRanks = 4096;
constexpr uint32_t kMaxExpertsPerRank = 4096;
constexpr uint32_t kMaxTokens = 1u << 20;
constexpr uint32_t kMaxHidden = 65536;
constexpr uint32_t kMaxRingWqebbs = 32768;
constexpr uint32_t kMaxFifos = 64;
constexpr uint32_t kMaxFifoDepth = 1u << 20;
constexpr uint32_t kMaxQueuePairs = 65280;
constexpr uint32_t kMaxBlocks = 1024;
constexpr uint32_t kMaxWarpsPerBlock = 32;
// Each warp of a launch is a fiber with a stack of its own.
constexpr uint64_t kMaxWarpsAtOnce = 16384;

uint32_t power_of_two(const Setting& setting, uint32_t min, uint32_t max) {
  const uint32_t value = setting.number32(min, max);
  if ((value & (value - 1)) != 0) setting.reject(setting.text() + " is not a power of two");
  return value;
}

void require_backend(const Setting& backend) {
  enum class Known { here, absent };
  const auto verbs = build_parts().verbs ? Known::here : Known::absent;
  const auto known =
      backend.one_of<Known>({{"sim", Known::here}, {"mlx5", verbs}, {"verbs", verbs}});
  if (known == Known::absent) {
    throw BackendError("backend " + backend.text() + " is not part of this build");
  }
}

AnyDoorbell read_doorbell(const Setting& setting) {
  const std::string kEvery = "every:", kAdaptive = "adaptive";
  const std::string& text = setting.text();
  if (text == "tail") return {false, 0};
  if (text == kAdaptive) return {true, 0};
  if (text.starts_with(kEvery)) {
    const Setting count(text.substr(kEvery.size()), "", true);
    try {
      return {false, count.number32(1, kMaxRingWqebbs)};
    } catch (const UsageError&) {
      setting.reject("'" + text + "' needs a number from 1 to " + std::to_string(kMaxRingWqebbs) +
                     " after the colon");
    }
  }
  setting.reject("'" + text + "' is none of tail, every:K, adaptive");
}

// One rank a process unless the user wants more.
uint32_t read_ranks(const Setting& ranks, Exchange* processes) {
  if (processes == nullptr) return ranks.number32(1, kMaxRanks);
  const uint32_t count = ranks.given() ? ranks.number32(1, kMaxRanks) : processes->ranks();
  if (count % processes->ranks() != 0) {
    ranks.reject(ranks.text() + " is not a multiple of the " + std::to_string(processes->ranks()) +
                 " processes");
  }
  return count;
}

void read_shape(const Settings& settings, Exchange* processes, ep::Config& config) {
  config.ranks = read_ranks(settings.get("ranks"), processes);
  config.max_tokens = settings.get("tokens").number32(1, kMaxTokens);
  const Setting hidden = settings.get("hidden");
  config.hidden = hidden.number32(1, kMaxHidden);
  if (config.hidden % 128 != 0) hidden.reject(hidden.text() + " is not a multiple of 128");
  config.topk = settings.get("topk").number32(1, ep::kMaxTopk);
  config.experts_per_rank = settings.get("experts-per-rank").number32(1, kMaxExpertsPerRank);
  config.dtype = settings.get("dtype").one_of<ep::Dtype>(
      {{"bf16", ep::Dtype::bf16}, {"fp8", ep::Dtype::fp8}, {"fp8-ue8m0", ep::Dtype::fp8_ue8m0}});
}

void read_topology(const Setting& topology, EpOptions& options) {
  options.topology = topology.text();
  if (options.topology.empty()) return;
  if (options.backend == EpBackend::sim) topology.reject("sim has no NICs to assign");
  if (!std::filesystem::is_directory(options.topology)) {
    topology.reject("'" + options.topology + "' is not a directory");
  }
}

// A file brings its own topk and number of tokens, unless the user insists on others.
void read_routing(const Settings& settings, EpRequest& request) {
  ep::Config& config = request.options.config;
  const Setting setting = settings.get("routing");
  const Setting topk = settings.get("topk");
  request.routing = setting.text();
  std::unique_ptr<Routing> routing;
  try {
    routing = parse_routing(setting.text(), topk.given() ? config.topk : 0, config.experts());
  } catch (const UsageError& e) {
    setting.reject(e.what());
  }
  if (const auto* file = dynamic_cast<const FileRouting*>(routing.get())) {
    config.topk = file->topk();
    const Setting tokens = settings.get("tokens");
    if (!tokens.given()) {
      config.max_tokens = (file->tokens() + config.ranks - 1) / config.ranks;
      if (config.max_tokens > kMaxTokens) {
        setting.reject("'" + setting.text() + "' gives each rank " +
                       std::to_string(config.max_tokens) + " tokens; at most " +
                       std::to_string(kMaxTokens) + " can be used");
      }
    } else if (file->tokens() > uint64_t{config.ranks} * config.max_tokens) {
      setting.reject("'" + setting.text() + "' holds " + std::to_string(file->tokens()) +
                     " tokens, but " + std::to_string(config.ranks) + " ranks with --tokens " +
                     std::to_string(config.max_tokens) + " take only " +
                     std::to_string(uint64_t{config.ranks} * config.max_tokens));
    }
  }
  if (config.topk > config.experts()) {
    topk.reject(std::to_string(config.topk) + " is more than the " +
                std::to_string(config.experts()) + " experts (" + std::to_string(config.ranks) +
                " ranks x " + std::to_string(config.experts_per_rank) + " experts per rank)");
  }
  request.options.routing = std::move(routing);
}

void read_transport(const Settings& settings, EpOptions& options) {
  ep::Config& config = options.config;
  options.backend = settings.get("backend").one_of<EpBackend>(
      {{"sim", EpBackend::sim}, {"mlx5", EpBackend::mlx5}, {"verbs", EpBackend::verbs}});
  const Setting path = settings.get("path");
  options.path = path.one_of<ep::PathRequest>({{"auto", ep::PathRequest::automatic},
                                               {"ibgda", ep::PathRequest::ibgda},
                                               {"ipc", ep::PathRequest::ipc},
                                               {"fifo", ep::PathRequest::fifo}});
  const Setting per_node = settings.get("ranks-per-node");
  options.ranks_per_node = per_node.given() ? per_node.number32(0, kMaxRanks) : 1;
  if (options.path == ep::PathRequest::ipc) {
    if (!per_node.given()) options.ranks_per_node = 0;
    if (options.ranks_per_node != 0 && options.ranks_per_node < config.ranks) {
      path.reject("ipc needs all ranks on one node, but only " + per_node.text() + " of " +
                  std::to_string(config.ranks) + " share one (use --ranks-per-node 0)");
    }
  }
  if (options.ranks_per_node > config.ranks && per_node.given()) {
    per_node.reject(per_node.text() + " is more than the " + std::to_string(config.ranks) +
                    " ranks");
  }
  config.flags = settings.get("flags").one_of<ep::FlagPolicy>(
      {{"write", ep::FlagPolicy::strict_write}, {"atomic", ep::FlagPolicy::atomic_add}});
  config.doorbell = read_doorbell(settings.get("doorbell"));
  config.ring_wqebbs = power_of_two(settings.get("ring-wqebbs"), 2, kMaxRingWqebbs);
  config.cq_mode = settings.get("cq").one_of<CqMode>(
      {{"collapsed", CqMode::collapsed}, {"owner", CqMode::owner_bit}});
  config.fifo_count = settings.get("fifos").number32(1, kMaxFifos);
  config.fifo_depth = power_of_two(settings.get("fifo-depth"), 2, kMaxFifoDepth);
  options.nic.max_queue_pairs = settings.get("sim-max-qps").number32(1, kMaxQueuePairs);
}

void read_launch(const Settings& settings, EpOptions& options) {
  constexpr uint64_t kMaxTimeoutMs = 3'600'000;
  options.config.timeout_ns = settings.get("timeout-ms").number(1, kMaxTimeoutMs) * 1'000'000;
  const Setting blocks = settings.get("blocks");
  options.blocks = blocks.number32(1, kMaxBlocks);
  options.warps_per_block = settings.get("warps").number32(1, kMaxWarpsPerBlock);
  const uint64_t warps = uint64_t{options.local_ranks()} * options.blocks * options.warps_per_block;
  if (warps > kMaxWarpsAtOnce) {
    blocks.reject(std::to_string(options.local_ranks()) + " ranks x " +
                  std::to_string(options.blocks) + " blocks x " +
                  std::to_string(options.warps_per_block) + " warps are more than " +
                  std::to_string(kMaxWarpsAtOnce) + " warps at once");
  }
  options.zero_copy = settings.get("zero-copy").boolean();
  options.split_phases = settings.get("phases").one_of<bool>({{"both", false}, {"split", true}});
  const Setting deterministic = settings.get("deterministic");
  options.deterministic = deterministic.boolean();
  if (options.deterministic && options.processes != nullptr) {
    deterministic.reject("needs one process, but there are " +
                         std::to_string(options.processes->ranks()));
  }
  if (options.deterministic && options.backend != EpBackend::sim) {
    deterministic.reject("the NICs of --backend " + settings.get("backend").text() +
                         " run by themselves");
  }
  options.device =
      settings.get("device").one_of<EpDevice>({{"host", EpDevice::host}, {"cuda", EpDevice::cuda}});
  if (options.device == EpDevice::cuda) {
    if (options.deterministic)
      deterministic.reject("a GPU has no virtual clock (use --device host)");
    if (!blocks.given()) options.blocks = 0;
    if (!settings.get("warps").given()) options.warps_per_block = 0;
  }
  const Setting windows = settings.get("windows");
  options.windows = windows.one_of<EpWindows>(
      {{"auto", EpWindows::automatic}, {"gpu", EpWindows::gpu}, {"host", EpWindows::host}});
  if (options.device != EpDevice::cuda && options.windows != EpWindows::automatic) {
    windows.reject("kernels on the host have theirs there");
  }
  if (options.windows == EpWindows::gpu && options.backend == EpBackend::sim &&
      !options.shared_memory_only()) {
    windows.reject("the software NIC reaches host memory only");
  }
  options.check = settings.get("check").boolean();
  options.seed = settings.get("seed").number(0, ~uint64_t{0});
}

// Bytes of memory that a run touches, roughly.
double estimated_bytes(const EpOptions& options) {
  const ep::Config& c = options.config;
  const ep::Layout layout = ep::make_layout(c);
  const double ranks = c.ranks;
  const double tokens = ranks * c.max_tokens;
  const double messages = tokens * c.topk;
  const double token_bytes = layout.combine_bytes;
  // Windows hold everything twice, by parity; inputs, outputs and the reference hold it once.
  const double windows = 2 * (tokens * layout.message_bytes + messages * layout.message_bytes +
                              2 * messages * token_bytes);
  const double buffers = 3 * tokens * token_bytes + messages * (layout.payload_bytes + token_bytes);
  const uint32_t per_node = options.ranks_per_node == 0 ? c.ranks : options.ranks_per_node;
  const bool all_remote =
      options.path == ep::PathRequest::ibgda || options.path == ep::PathRequest::fifo;
  const double peers = all_remote ? c.ranks - 1 : c.ranks - std::min(per_node, c.ranks);
  const double cq = c.cq_mode == CqMode::owner_bit ? 2 : 1;
  constexpr double kPerQueuePair = 4096;  // heads, records and what the NIC keeps
  const double rings =
      ranks * peers * c.experts_per_rank * (c.ring_wqebbs * kWqebbBytes * cq + kPerQueuePair);
  // Each process has all inputs, and the reference's copy of them.
  const double copies = 2 * tokens * token_bytes * (ranks / options.local_ranks() - 1);
  return windows + buffers + rings + copies;
}

EpRequest read_ep_request(const Settings& settings, Exchange* processes) {
  constexpr uint32_t kMaxIterations = 1'000'000;
  require_backend(settings.get("backend"));
  EpRequest request;
  request.options.processes = processes;
  read_shape(settings, processes, request.options.config);
  read_transport(settings, request.options);
  read_launch(settings, request.options);
  request.iterations = settings.get("iters").number32(1, kMaxIterations);
  request.warmup = settings.get("warmup").number32(0, kMaxIterations);
  request.json = settings.get("json").text();
  read_topology(settings.get("topology"), request.options);
  read_routing(settings, request);
  return request;
}

void require_memory(const EpOptions& options) {
  const double needed = estimated_bytes(options);
  const auto available = static_cast<double>(available_memory("/"));
  if (available > 0 && needed > available) {
    throw BackendError(
        fmt::format("this shape touches about {:.1f} GiB of memory, but only {:.1f} "
                    "GiB are available",
                    needed / 0x1p30, available / 0x1p30));
  }
}

}  // namespace

void declare_ep_settings(Settings& s) {
  const std::string kShape = "Shape", kPaths = "Paths and queues", kRun = "Run", kOut = "Output";
  s.add("ranks", "N", "4", "Ranks; under mpirun spread over its processes", kShape,
        "4; under mpirun one a process");
  s.add("ranks-per-node", "N", "1", "Ranks that share memory; 0: all", kShape,
        "1; 0 with --path ipc");
  s.add("tokens", "N", "128", "Tokens per rank and call", kShape, "128, or what the file has");
  s.add("hidden", "N", "7168", "Channels of a token, a multiple of 128", kShape);
  s.add("topk", "N", "8", "Experts per token", kShape, "8, or what the file has");
  s.add("experts-per-rank", "N", "8", "Experts per rank", kShape);
  s.add("dtype", "TYPE", "bf16", "Type on the wire of dispatch: bf16, fp8, fp8-ue8m0", kShape);
  s.add("routing", "HOW", "uniform",
        "uniform, zipf:A, one-hot, one-hot:E, or a CSV or JSON-lines file", kShape);

  s.add("backend", "NAME", "sim", "Whose NIC: sim, mlx5, verbs", kPaths);
  s.add("topology", "DIR", "", "Recorded node that NICs are assigned by, with mlx5", kPaths,
        "this machine");
  s.add("path", "PATH", "auto", "Between ranks: auto, ibgda, ipc, fifo", kPaths);
  s.add("flags", "HOW", "write", "How 'all sent' travels: write, atomic", kPaths);
  s.add("doorbell", "HOW", "tail", "When kernels ring: tail, every:K, adaptive", kPaths);
  s.add("ring-wqebbs", "N", "256", "Depth of each send ring, a power of two", kPaths);
  s.add("cq", "MODE", "collapsed", "Completion queue: collapsed, owner", kPaths);
  s.add("fifos", "N", "2", "Command rings to the host proxy, with --path fifo", kPaths);
  s.add("fifo-depth", "N", "1024", "Depth of each, a power of two", kPaths);
  s.add("sim-max-qps", "N", "8192", "Queue pairs that a software NIC can hold", kPaths);

  s.add("device", "WHERE", "host", "Where kernels run: host (fibers), cuda (GPUs)", kRun);
  s.add("windows", "WHERE", "auto", "Windows of kernels on GPUs: auto, gpu, host", kRun);
  s.add("iters", "N", "10", "Timed iterations", kRun);
  s.add("warmup", "N", "1", "Iterations before them, checked but not timed", kRun);
  s.add("seed", "N", "1", "Of tokens and routing", kRun);
  s.add("blocks", "N", "2", "Blocks per launch and rank", kRun, "2; on a GPU what fits");
  s.add("warps", "N", "4", "Warps per block", kRun, "4; on a GPU what fits");
  s.add("phases", "HOW", "both", "Send and receive in one launch or two: both, split", kRun);
  s.add_flag("zero-copy", false, "Experts write straight into the combine window", kRun);
  s.add("timeout-ms", "N", "10000", "Longest wait of a kernel", kRun);
  s.add_flag("deterministic", false, "One thread, virtual clock: the same run every time", kRun);

  s.add_flag("check", true, "Compare every result with the reference", kOut, true);
  s.add("json", "FILE", "", "Also write the result as JSON; '-': stdout, no table", kOut);
}

PreparedRequest prepare_request(const Settings& settings, Processes& processes,
                                const std::function<void(const EpRequest&)>& refuse) {
  PreparedRequest prepared;
  require_same(processes.exchange(), settings.text("json"), "options");
  together(processes.exchange(), [&] {
    prepared.request = read_ep_request(settings, processes.exchange());
    refuse(prepared.request);
    if (processes.speaks()) prepared.json = open_output(settings.get("json"));
    require_memory(prepared.request.options);
  });
  return prepared;
}

}  // namespace ringer::tools
