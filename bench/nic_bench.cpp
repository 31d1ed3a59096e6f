// SPDX-License-Identifier: Apache-2.0
// What one 64-byte RDMA WRITE costs the software NIC, by ring depth and by number of queue pairs.
// Only the engine's time counts: WQEs are put into the rings outside of it.
#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <vector>

#include <benchmark/benchmark.h>

#include <ringer/mlx5/wire.hpp>
#include <ringer/sim/fabric.hpp>
#include <ringer/soft/soft_backend.hpp>

namespace ringer {
namespace {

using mlx5::Wire;

constexpr uint32_t kBytes = 64;
constexpr uint32_t kWindowBytes = 4096;

/// What all queue pairs copy from and to: the payload's share of the caches stays the same.
struct Window {
  Window(Nic& near, Nic& far)
      : bytes(2 * kWindowBytes),
        source(near.register_memory(bytes.data(), kWindowBytes, access::all)),
        target(far.register_memory(bytes.data() + kWindowBytes, kWindowBytes, access::all)) {}

  std::vector<uint8_t> bytes;
  std::unique_ptr<MemoryRegion> source;
  std::unique_ptr<MemoryRegion> target;
};

/// A queue pair whose ring is filled whole, unsignaled but for one WQE a half ring.
class Poster {
 public:
  Poster(Nic& near, Nic& far, const Window& window, uint32_t wqebbs)
      : window_(window),
        near_(near.create_queue_pair({wqebbs, CqMode::collapsed, 0, 0, 7})),
        far_(far.create_queue_pair({64, CqMode::collapsed, 0, 0, 7})) {
    near_->connect(far_->address(), 1);
    far_->connect(near_->address(), 0);
    view_ = near_->device_view();
    for (uint32_t i = 0; i < wqebbs; ++i) std::memcpy(slot(i), make(i).bytes, kWqebbBytes);
  }

  /// Gives every slot its next index and rings.
  void fill() {
    for (uint32_t i = 0; i < view_.sq_wqebbs; ++i) {
      const Be32 word = Be32::of((static_cast<uint32_t>((next_ + i) & 0xffff) << 8) |
                                 static_cast<uint32_t>(mlx5::Opcode::rdma_write));
      std::memcpy(slot(i), &word, sizeof(word));
    }
    next_ += view_.sq_wqebbs;
    std::atomic_ref(view_.dbr[1].raw).store(Wire::dbr_value(next_).raw, std::memory_order_release);
    std::atomic_ref(*view_.doorbell)
        .store(Wire::doorbell_value(next_, view_.qpn), std::memory_order_release);
  }

 private:
  uint8_t* slot(uint32_t i) const {
    return static_cast<uint8_t*>(view_.sq) + size_t{i} * kWqebbBytes;
  }
  Wire::Wqe make(uint32_t i) const {
    const uint64_t offset = uint64_t{i} * kBytes % kWindowBytes;
    const uint64_t window = reinterpret_cast<uint64_t>(window_.bytes.data());
    const bool signaled = (i + 1) % (view_.sq_wqebbs / 2) == 0;
    return Wire::make_write({i, view_.qpn, Wire::signal_flags(signaled)},
                            {window + offset, window_.source->lkey()},
                            {window + kWindowBytes + offset, window_.target->rkey()}, kBytes);
  }

  const Window& window_;
  std::unique_ptr<QueuePair> near_;
  std::unique_ptr<QueuePair> far_;
  DeviceQp view_{};
  uint64_t next_ = 0;
};

void execute_writes(benchmark::State& state, uint32_t wqebbs, uint32_t queue_pairs) {
  using Clock = std::chrono::steady_clock;
  sim::Fabric fabric;
  soft::SoftBackend backend(fabric);
  const auto near = backend.open_nic(0);
  const auto far = backend.open_nic(1);
  const Window window(*near, *far);
  std::vector<std::unique_ptr<Poster>> posters;
  for (uint32_t i = 0; i < queue_pairs; ++i) {
    posters.push_back(std::make_unique<Poster>(*near, *far, window, wqebbs));
  }
  // At least this many WQEs between two looks at the clock's total.
  const uint64_t per_fill = uint64_t{wqebbs} * queue_pairs;
  const uint64_t fills = per_fill < 32768 ? 32768 / per_fill : 1;
  Clock::duration spent{};
  for (auto _ : state) {
    Clock::duration engine{};
    for (uint64_t i = 0; i < fills; ++i) {
      for (const auto& poster : posters) poster->fill();
      const auto began = Clock::now();
      fabric.run_until_idle();
      engine += Clock::now() - began;
    }
    spent += engine;
    state.SetIterationTime(std::chrono::duration<double>(engine).count());
  }
  const uint64_t wqes = static_cast<uint64_t>(state.iterations()) * fills * per_fill;
  if (fabric.nic(0).counters().wqes != wqes || fabric.violation_count() != 0) {
    state.SkipWithError("the NIC did not execute every WQE cleanly");
  }
  state.SetItemsProcessed(static_cast<int64_t>(wqes));
  state.counters["ns_per_wqe"] =
      std::chrono::duration<double, std::nano>(spent).count() / static_cast<double>(wqes);
}

void by_ring_wqebbs(benchmark::State& state) {
  execute_writes(state, static_cast<uint32_t>(state.range(0)), 1);
}
void by_queue_pairs(benchmark::State& state) {
  execute_writes(state, 64, static_cast<uint32_t>(state.range(0)));
}

BENCHMARK(by_ring_wqebbs)->RangeMultiplier(8)->Range(64, 32768)->UseManualTime();
BENCHMARK(by_queue_pairs)->RangeMultiplier(4)->Range(1, 1024)->UseManualTime();

}  // namespace
}  // namespace ringer
