// SPDX-License-Identifier: Apache-2.0
#include "post_bench.hpp"

#include <algorithm>
#include <chrono>
#include <stdexcept>

namespace ringer::tools {

namespace {

// Of a launch: more than it can need.
constexpr uint64_t kTimeoutNs = 20'000'000'000;
constexpr uint64_t kTimeoutPerByteNs = 10;
constexpr uint64_t kTimeoutPerWqeNs = 100'000;

void require(const Status& status, const char* what) {
  if (!status.ok()) throw BenchFailure(std::string(what) + ": " + to_string(status));
}

void require_sense(const PostRun& run) {
  const PostRingsConfig& c = run.rings;
  if (const char* trouble = p2p::shape_trouble(c.shape, c.policy); trouble != nullptr) {
    throw std::invalid_argument(trouble);
  }
  if (c.batch == 0 || c.wqes == 0 || c.wqes % c.batch != 0) {
    throw std::invalid_argument(std::to_string(c.wqes) + " WQEs a warp are not posts of " +
                                std::to_string(c.batch));
  }
  if (run.nic == BenchNic::sim && c.policy.placement == Placement::gpu) {
    throw std::invalid_argument("the software NIC does not reach rings in GPU memory");
  }
}

// From the first post to the last, to its doorbell and, if that was waited for, to its completion.
double slowest_ns(const std::vector<p2p::PosterRecord>& records,
                  const std::vector<p2p::ServerRecord>& servers, bool drained) {
  uint64_t begin = ~uint64_t{0};
  uint64_t end = 0;
  for (const p2p::ServerRecord& server : servers) end = std::max(end, server.rung_ns);
  for (const p2p::PosterRecord& r : records) {
    begin = std::min(begin, r.begin_ns);
    end = std::max(end, drained ? r.done_ns : r.posted_ns);
  }
  return static_cast<double>(end - begin);
}

}  // namespace

PostResult run_post(P2pLauncher& launcher, const PostRun& run) {
  require_sense(run);
  const PostRingsConfig& config = run.rings;
  const uint32_t warps = config.shape.blocks * config.shape.warps_per_block;
  const auto rings = run.nic == BenchNic::sim ? make_sim_rings(launcher.memory(), config)
                                              : make_plain_rings(launcher.memory(), config);
  KernelArray<p2p::PosterRecord> device_records(launcher.memory(), warps);
  KernelArray<uint32_t> finished(launcher.memory(), 2);
  KernelArray<p2p::ServerRecord> device_servers(launcher.memory(), config.shape.blocks);
  std::vector<p2p::PosterRecord> records(warps);
  std::vector<p2p::ServerRecord> servers(config.shape.blocks);
  p2p::PostArgs args{};
  args.queue_pairs = config.shape.queue_pairs;
  args.wqes = config.wqes;
  args.batch = config.batch;
  args.doorbell_every = run.doorbell_every;
  args.drain = run.nic == BenchNic::sim ? 1 : 0;
  args.bytes = config.bytes;
  args.timeout_ns = kTimeoutNs + uint64_t{warps} * config.wqes *
                                     (kTimeoutPerWqeNs + config.bytes * kTimeoutPerByteNs);
  args.records = device_records.data();
  args.finished = finished.data();
  args.servers = device_servers.data();

  PostResult result;
  result.wqes = uint64_t{warps} * config.wqes;
  const auto started = std::chrono::steady_clock::now();
  const auto enough = [&] {
    if (run.seconds == 0) return result.launch_ns.size() >= run.launches;
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - started;
    return !result.launch_ns.empty() && spent.count() >= run.seconds;
  };
  for (bool warm = false; !enough(); warm = true) {
    rings->prepare(args);
    finished.write(std::vector<uint32_t>(2));
    launcher.post(args, config.policy, config.shape);
    device_records.read(records);
    device_servers.read(servers);
    for (const p2p::PosterRecord& record : records) require(record.status, "post");
    for (const p2p::ServerRecord& server : servers) require(server.status, "serve");
    if (warm) result.launch_ns.push_back(slowest_ns(records, servers, args.drain != 0));
    std::string first;
    result.wrong += rings->check(first);
    if (result.first_wrong.empty()) result.first_wrong = first;
  }
  std::sort(result.launch_ns.begin(), result.launch_ns.end());
  return result;
}

}  // namespace ringer::tools
