// SPDX-License-Identifier: Apache-2.0
// One rank's channel to several peers on the software NIC, by any path, stepped by hand.
#pragma once

#include <memory>
#include <vector>

#include <ringer/fifo_proxy.hpp>

#include "support/queue_fixture.hpp"

namespace ringer::test {

struct ChannelSetup {
  Path path = Path::fifo;
  uint32_t ranks = 3;
  uint32_t queues = 1;
  uint32_t fifo_depth = 8;
  uint32_t fifos = 1;
  QueuePairConfig qp{16, CqMode::collapsed, 0, 0, 7};
};

/// Rank 0 sends; every rank (0 included) has a window of 64 words. While a wait polls in vain, the
/// proxies and the NICs are stepped unless the test pauses them.
class ChannelFixture {
 public:
  static constexpr size_t kWords = 64;
  static constexpr size_t kSourceWord = 8;    // what put() copies from
  static constexpr size_t kScratchWord = 63;  // where fetch-and-adds return

  explicit ChannelFixture(const ChannelSetup& setup = {}) : backend(fabric), platform(probe) {
    for (uint32_t r = 0; r < setup.ranks; ++r) {
      windows.emplace_back(kWords);
      nics.push_back(backend.open_nic(r));
      regions.push_back(nics[r]->register_memory(windows[r].data(), kWords * 8, access::all));
      flag_regions.push_back(nics[r]->register_memory(windows[r].data(), kWords * 8, access::all));
      peers.push_back(
          {setup.path, regions[r]->rkey(), reinterpret_cast<uint64_t>(windows[r].data()),
           setup.path == Path::ipc ? reinterpret_cast<uint8_t*>(windows[r].data()) : nullptr,
           flag_regions[r]->rkey()});
    }
    for (uint32_t q = 0; q < setup.queues; ++q) {
      for (uint32_t r = 0; r < setup.ranks; ++r) connect(r, setup.qp);
    }
    for (uint32_t i = 0; i < setup.fifos; ++i) {
      rings.push_back(std::make_unique<FifoRing>(setup.fifo_depth));
      fifos.push_back(rings[i]->device_view());
    }
    table.layout_stamp = kChannelStamp;
    table.rank = 0;
    table.ranks = setup.ranks;
    table.queues = setup.queues;
    table.peers = peers.data();
    table.qps = qps.data();
    table.fifos = fifos.data();
    table.fifo_count = setup.fifos;
    table.window_lkey = regions[0]->lkey();
    table.window = reinterpret_cast<uint8_t*>(windows[0].data());
    table.atomic_result_offset = kScratchWord * 8;
    for (const auto& ring : rings) {
      proxies.push_back(std::make_unique<FifoProxy>(*ring, FifoProxyConfig{&table, &queue_pairs}));
    }
    resume();
  }

  void pause() { probe.on_idle = nullptr; }
  void resume() {
    probe.on_idle = [this] { step(); };
  }
  /// One proxy step each and one WQE at each NIC. True if anything moved.
  bool step() {
    bool moved = false;
    for (const auto& proxy : proxies) moved = proxy->step() || moved;
    return fabric.step(1) || moved;
  }
  void run_until_idle() {
    while (step()) {
    }
  }

  Channel<ProbePlatform, SharedByGpu> channel() { return {platform, table}; }
  Fifo<ProbePlatform> fifo(uint32_t i = 0) { return {platform, fifos[i]}; }
  WaitLimit soon() { return limit_after(platform, 5000 * probe.idle_ns); }

  /// Pushes a put of the source word to word `word` of `peer`.
  Status push_put(uint32_t peer, size_t word, uint32_t queue = 0) {
    return fifo().push(FifoOp::put, queue, peer, word * 8, kSourceWord * 8, 8, soon());
  }
  Status push_value(uint32_t peer, size_t word, uint64_t value, uint32_t queue = 0) {
    return fifo().push(FifoOp::put_value, queue, peer, word * 8, value, 8, soon());
  }

  std::string violations() const {
    std::string text;
    for (const sim::Violation& v : fabric.violations()) text += to_string(v) + "\n";
    return text;
  }

  sim::Fabric fabric;
  soft::SoftBackend backend;
  Probe probe;
  ProbePlatform platform;
  std::vector<std::vector<uint64_t>> windows;
  std::vector<std::unique_ptr<Nic>> nics;
  std::vector<std::unique_ptr<MemoryRegion>> regions;
  std::vector<std::unique_ptr<MemoryRegion>> flag_regions;
  std::vector<ChannelPeer> peers;
  std::vector<std::unique_ptr<QueuePair>> queue_pairs;  // rank 0's, `queue * ranks + peer`
  std::vector<std::unique_ptr<QueuePair>> far_ends;
  std::vector<DeviceQp> qps;
  std::vector<std::unique_ptr<FifoRing>> rings;
  std::vector<DeviceFifo> fifos;
  ChannelTable table{};
  std::vector<std::unique_ptr<FifoProxy>> proxies;

 private:
  void connect(uint32_t peer, const QueuePairConfig& config) {
    auto near = nics[0]->create_queue_pair(config);
    auto far = nics[peer]->create_queue_pair({8, CqMode::collapsed, 0, 0, 7});
    near->connect(far->address(), peer);
    far->connect(near->address(), 0);
    qps.push_back(near->device_view());
    queue_pairs.push_back(std::move(near));
    far_ends.push_back(std::move(far));
  }
};

}  // namespace ringer::test
