// SPDX-License-Identifier: Apache-2.0
#include "ping_pong_bench.hpp"

#include <algorithm>
#include <chrono>
#include <optional>
#include <stdexcept>

#include <ringer/sim/fabric.hpp>
#include <ringer/soft/soft_backend.hpp>

#include "random.hpp"

namespace ringer::tools {

namespace {

// Of a launch: more than it can need.
constexpr uint64_t kTimeoutNs = 20'000'000'000;
constexpr uint64_t kTimeoutPerByteNs = 20;
constexpr uint64_t kTimeoutPerTripNs = 1'000'000;

struct End {
  End(Backend& backend, KernelMemory& memory, uint32_t rank, uint64_t stride,
      const QueuePairConfig& config)
      : nic(backend.open_nic(rank)),
        window(memory, 2 * stride + sizeof(uint64_t), MemoryUse::window),
        region(nic->register_memory(window.data(), window.size(), access::all)),
        pair(nic->create_queue_pair(config)),
        qp(memory, 1) {}

  void connect(const End& peer, uint32_t rank) {
    pair->connect(peer.pair->address(), rank);
    const DeviceQp view = pair->device_view();
    qp.write({&view, 1});
  }
  p2p::PingPongEnd view(const End& peer) const {
    return {qp.data(),
            window.data(),
            region->lkey(),
            {reinterpret_cast<uint64_t>(peer.window.data()), peer.region->rkey()}};
  }

  std::unique_ptr<Nic> nic;
  KernelArray<uint8_t> window;
  std::unique_ptr<MemoryRegion> region;
  std::unique_ptr<QueuePair> pair;
  KernelArray<DeviceQp> qp;
};

/// Both ends, and the bytes that their messages carry between the first and the last.
class Match {
 public:
  Match(P2pLauncher& launcher, const PingPongRun& run)
      : launcher_(launcher),
        run_(run),
        stride_((uint64_t{run.bytes} + 63) / 64 * 64),
        fabric_({.memory = &launcher.memory()}),
        ends_{End(backend_, launcher.memory(), 0, stride_, pair_config()),
              End(backend_, launcher.memory(), 1, stride_, pair_config())},
        trips_(launcher.memory(), run.iterations),
        wrong_(launcher.memory(), 2),
        statuses_(launcher.memory(), 2) {
    ends_[0].connect(ends_[1], 1);
    ends_[1].connect(ends_[0], 0);
    for (uint32_t side = 0; side < 2; ++side) {
      content_[side].resize(run.bytes);
      Random random(side + 1);
      for (uint8_t& byte : content_[side]) byte = static_cast<uint8_t>(random.next());
      ends_[side].window.write(content_[side], stride_);
    }
    thread_.emplace(fabric_);
  }

  /// `iterations` round trips; appends their times.
  void play(uint32_t iterations, PingPongResult& result, bool timed) {
    p2p::PingPongArgs args{};
    for (uint32_t side = 0; side < 2; ++side) args.ends[side] = ends_[side].view(ends_[1 - side]);
    args.stride = stride_;
    args.bytes = run_.bytes;
    args.iterations = iterations;
    args.first = next_;
    args.timeout_ns =
        kTimeoutNs + iterations * (kTimeoutPerTripNs + run_.bytes * kTimeoutPerByteNs);
    args.round_trips_ns = trips_.data();
    args.wrong = wrong_.data();
    args.statuses = statuses_.data();
    launcher_.ping_pong(args, run_.record);
    next_ += iterations;
    std::vector<Status> statuses(2);
    statuses_.read(statuses);
    for (uint32_t side = 0; side < 2; ++side) {
      if (!statuses[side].ok()) {
        throw BenchFailure("end " + std::to_string(side) + ": " + to_string(statuses[side]));
      }
    }
    std::vector<uint64_t> trips(iterations), wrong(2);
    trips_.read(trips);
    wrong_.read(wrong);
    result.wrong += wrong[0] + wrong[1] + differences();
    if (timed) {
      result.round_trips_ns.insert(result.round_trips_ns.end(), trips.begin(), trips.end());
    }
  }

  uint64_t violations() const { return fabric_.violation_count(); }

 private:
  QueuePairConfig pair_config() const {
    QueuePairConfig config;
    config.kernels = &launcher_.memory();
    config.record_may_trail = run_.record == RecordOrder::trailing;
    return config;
  }

  // The last message of each side lies in the other's window.
  uint64_t differences() {
    uint64_t wrong = 0;
    const auto stamp = static_cast<uint8_t>(next_ - 1);
    for (uint32_t side = 0; side < 2; ++side) {
      std::vector<uint8_t> expected = content_[1 - side];
      expected.front() = expected.back() = stamp;
      std::vector<uint8_t> arrived(run_.bytes);
      ends_[side].window.read(arrived);
      for (size_t i = 0; i < arrived.size(); ++i) wrong += arrived[i] != expected[i] ? 1 : 0;
    }
    return wrong;
  }

  P2pLauncher& launcher_;
  PingPongRun run_;
  uint64_t stride_;
  sim::Fabric fabric_;
  soft::SoftBackend backend_{fabric_};
  End ends_[2];
  KernelArray<uint64_t> trips_, wrong_;
  KernelArray<Status> statuses_;
  std::vector<uint8_t> content_[2];
  uint64_t next_ = 1;
  std::optional<sim::NicThread> thread_;  // ends before what it serves
};

}  // namespace

PingPongResult run_ping_pong(P2pLauncher& launcher, const PingPongRun& run) {
  Match match(launcher, run);
  PingPongResult result;
  match.play(std::max(1u, run.iterations / 10), result, false);
  const auto started = std::chrono::steady_clock::now();
  std::chrono::duration<double> spent{0};
  do {
    match.play(run.iterations, result, true);
    spent = std::chrono::steady_clock::now() - started;
  } while (spent.count() < run.seconds);
  result.wrong += match.violations();
  std::sort(result.round_trips_ns.begin(), result.round_trips_ns.end());
  return result;
}

}  // namespace ringer::tools
