// SPDX-License-Identifier: Apache-2.0
// Two connected queue pairs on the software NIC, with memory on both sides, stepped by hand.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <ringer/endpoint.hpp>
#include <ringer/sim/fabric.hpp>
#include <ringer/soft/soft_backend.hpp>

#include "support/probe_platform.hpp"

namespace ringer::test {

using Exclusive = QueuePolicy<Sharing::exclusive>;
using SharedByCta = QueuePolicy<Sharing::cta>;
using SharedByGpu = QueuePolicy<Sharing::gpu>;
using mlx5::Wire;

inline constexpr PostFlags kSilent{false, false};  // neither signaled nor rung
inline constexpr PostFlags kLoud{true, true};

struct QueueSetup {
  QueuePairConfig near{8, CqMode::collapsed, 0, 0, 7};
  QueuePairConfig far{8, CqMode::collapsed, 0, 0, 7};
  size_t words = 512;  ///< of 8 bytes, on each side
};

inline QueueSetup ring_of(uint32_t wqebbs, CqMode mode = CqMode::collapsed, uint64_t start = 0) {
  QueueSetup setup;
  setup.near.sq_wqebbs = wqebbs;
  setup.near.cq_mode = mode;
  setup.near.start_index = start;
  return setup;
}

/// One end: its NIC, its window and its queue pair.
struct QueueEnd {
  QueueEnd(Backend& backend, uint32_t rank, const QueuePairConfig& config, size_t word_count)
      : words(word_count),
        nic(backend.open_nic(rank)),
        region(nic->register_memory(words.data(), words.size() * 8, access::all)),
        qp(nic->create_queue_pair(config)) {}

  std::vector<uint64_t> words;
  std::unique_ptr<Nic> nic;
  std::unique_ptr<MemoryRegion> region;
  std::unique_ptr<QueuePair> qp;
};

/// `near` (NIC 0) posts to `far` (NIC 1). While a wait polls in vain the fabric is stepped, one WQE
/// at a time, unless the test pauses it.
class QueueFixture {
 public:
  static constexpr uint32_t kFarRank = 7;  // what the near end calls its peer
  static constexpr uint32_t kNearRank = 3;

  explicit QueueFixture(const QueueSetup& setup = {})
      : backend(fabric),
        near(backend, 0, setup.near, setup.words),
        far(backend, 1, setup.far, setup.words),
        platform(probe) {
    near.qp->connect(far.qp->address(), kFarRank);
    far.qp->connect(near.qp->address(), kNearRank);
    view = near.qp->device_view();
    resume();
  }

  void pause() { probe.on_idle = nullptr; }
  void resume() {
    probe.on_idle = [this] { fabric.step(1); };
  }

  /// `turns` WQEs at each NIC.
  void step(uint32_t turns) {
    for (uint32_t i = 0; i < turns; ++i) fabric.step(1);
  }

  template <class Policy>
  Endpoint<ProbePlatform, Policy> endpoint(Policy policy = {}) {
    return {platform, view, policy};
  }
  template <class Policy>
  SendQueue<ProbePlatform, mlx5::Wire, Policy> queue(Policy policy = {}) {
    return {platform, view, policy};
  }

  /// A limit that the virtual clock reaches after some hundred polls in vain.
  WaitLimit soon() { return limit_after(platform, 300 * probe.idle_ns); }
  /// A limit that only a defect reaches.
  static WaitLimit never() { return {}; }

  /// Word `i` of the near or the far window.
  LocalRef local(size_t i = 0) const {
    return {reinterpret_cast<uint64_t>(near.words.data() + i), near.region->lkey()};
  }
  RemoteRef remote(size_t i = 0) const {
    return {reinterpret_cast<uint64_t>(far.words.data() + i), far.region->rkey()};
  }

  SqState& heads() const { return *view.state; }
  const sim::NicCounters& counters() { return fabric.nic(0).counters(); }

  /// The send ring's bytes as they are now.
  std::vector<uint8_t> ring_bytes() const {
    const auto* sq = static_cast<const uint8_t*>(view.sq);
    return {sq, sq + size_t{view.sq_wqebbs} * kWqebbBytes};
  }
  /// Segment `position` of the WQE in the slot of `index`.
  template <class Seg>
  Seg segment(uint64_t index, uint32_t position) const {
    Seg seg;
    std::memcpy(&seg,
                static_cast<const uint8_t*>(view.sq) +
                    size_t{slot_of(index, view.sq_wqebbs)} * kWqebbBytes + size_t{position} * 16,
                sizeof(seg));
    return seg;
  }
  bool asks_for_cqe(uint64_t index) const {
    return (segment<mlx5::CtrlSeg>(index, 0).fm_ce_se & 0x0c) == 0x08;
  }

  /// All violations, one a line; empty after a clean run.
  std::string violations() const {
    std::string text;
    for (const sim::Violation& v : fabric.violations()) text += to_string(v) + "\n";
    return text;
  }

  sim::Fabric fabric;
  soft::SoftBackend backend;
  QueueEnd near;
  QueueEnd far;
  DeviceQp view{};
  Probe probe;
  ProbePlatform platform;
};

}  // namespace ringer::test
