// SPDX-License-Identifier: Apache-2.0
// Runs kernels on the host: grids of blocks of warps, each warp a fiber, all grids of a launch
// together on the calling thread. A launch that cannot go on is a report with names, not a hang.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <ringer/bytes.hpp>
#include <ringer/host_platform.hpp>
#include <ringer/sim/fiber.hpp>
#include <ringer/sim/lanes_in_turn.hpp>
#include <ringer/simt.hpp>

namespace ringer::sim {

class SimtExecutor;
class SimtWarp;

/// One kernel launch of one rank.
struct Grid {
  std::string name;  ///< used in reports, e.g. "rank 3 dispatch"
  uint32_t blocks = 1;
  uint32_t warps_per_block = 1;
  uint32_t shared_bytes = 0;
  std::function<void(SimtWarp)> kernel;
};

struct SimtOptions {
  /// Moves the world outside the kernels by one small step; false when nothing could move. With a
  /// pump the executor is single-threaded and deterministic, and its clock is virtual: it jumps to
  /// the next deadline when nothing else can happen. Without one, the world runs on threads of its
  /// own and the clock is real.
  std::function<bool()> pump;
  /// Without a pump: is the outside world at rest, so that waits without deadline can never end?
  std::function<bool()> at_rest;
  /// 0: warps take turns in order, switching only where they wait. Else warps are shuffled each
  /// round and also switch at `sync`, by this seed.
  uint64_t seed = 0;
};

struct LaunchReport {
  bool completed = true;
  std::string deadlock;  ///< who waits for what, one warp a line; empty when completed
};

/// Not thread-safe; fibers and stacks are kept from launch to launch.
class SimtExecutor {
 public:
  explicit SimtExecutor(SimtOptions options = {});
  ~SimtExecutor();
  SimtExecutor(const SimtExecutor&) = delete;
  SimtExecutor& operator=(const SimtExecutor&) = delete;

  /// Runs all grids to their end. Rethrows an exception of a kernel after unwinding the others.
  LaunchReport launch(std::span<const Grid> grids);

  /// The launch's clock: virtual with a pump; else real time, read once a round.
  uint64_t now_ns() const { return clock_ns_; }

 private:
  friend class SimtWarp;
  friend class FiberPlatform;

  struct Barrier {
    uint32_t expected = 0;
    uint32_t arrived = 0;
    uint64_t generation = 0;
  };
  // A GPU block has 16 barriers, one of which is block_sync.
  static constexpr uint32_t kNamedBarriers = 15;
  struct BlockState {
    Barrier all;
    Barrier named[kNamedBarriers];
    std::vector<Chunk16> shared;
  };
  struct GridState {
    const Grid* grid;
    Barrier all;
    std::vector<BlockState> blocks;
  };

  // What a suspended warp waits for: a barrier's next generation, or a condition on memory.
  struct Wait {
    const char* site = nullptr;
    Barrier* barrier = nullptr;
    uint64_t generation = 0;
    bool (*ready)(void*) = nullptr;
    void* context = nullptr;
    uint64_t expires_ns = 0;
  };
  struct WarpState {
    GridState* grid;
    uint32_t block;
    uint32_t warp;
    Fiber* fiber;
    Wait wait;
  };

  void prepare(std::span<const Grid> grids);
  bool ready(const WarpState& warp) const;
  bool run_round();
  bool stuck();
  std::string describe() const;
  void suspend(const Wait& wait);
  void arrive(Barrier& barrier, uint32_t expected, const char* site);
  void yield_by_seed();
  void cancel_all();

  SimtOptions options_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<std::unique_ptr<GridState>> grids_;
  std::vector<WarpState> warps_;
  std::vector<uint32_t> order_;
  WarpState* current_ = nullptr;
  uint64_t clock_ns_ = 1;
  std::mt19937_64 random_;
};

/// The warp handle that the executor gives to kernels: see the `Warp` concept.
class SimtWarp : public LanesInTurn {
 public:
  uint32_t warp_in_block() const { return state_->warp; }
  uint32_t warps_per_block() const { return state_->grid->grid->warps_per_block; }
  uint32_t block() const { return state_->block; }
  uint32_t blocks() const { return state_->grid->grid->blocks; }

  void copy(WarpShare share, void* to, const void* from, uint64_t bytes) const {
    const Piece piece = piece_of(share, bytes);
    std::memcpy(static_cast<uint8_t*>(to) + piece.first,
                static_cast<const uint8_t*>(from) + piece.first, piece.bytes);
  }
  template <class To>
  void spread(WarpShare share, uint32_t n, To&& to, const void* from, uint64_t bytes) const {
    for (uint32_t i = 0; i < n; ++i) {
      if (uint8_t* target = to(i); target != nullptr) copy(share, target, from, bytes);
    }
  }
  void push(void* to, const void* from, uint32_t bytes) const { std::memcpy(to, from, bytes); }
  void sync() const { executor_->yield_by_seed(); }
  void block_sync() const;
  void group_sync(uint32_t id, uint32_t warps) const;
  void grid_sync() const;
  void* shared(uint32_t bytes) const;

 private:
  friend class SimtExecutor;
  SimtWarp(SimtExecutor* executor, SimtExecutor::WarpState* state)
      : executor_(executor), state_(state) {}
  SimtExecutor::BlockState& block_state() const { return state_->grid->blocks[state_->block]; }

  SimtExecutor* executor_;
  SimtExecutor::WarpState* state_;
};

/// HostPlatform whose waits hand over to the other warps of the launch.
class FiberPlatform : public HostPlatform {
 public:
  explicit FiberPlatform(SimtExecutor& executor) : executor_(&executor) {}

  template <Scope kScope, Order kOrder, class T, class Predicate>
  WaitOutcome wait_until(const T* address, Predicate&& predicate, const WaitLimit& limit,
                         const char* site) const {
    WaitOutcome outcome = WaitOutcome::done;
    auto poll = [&] {
      outcome = WaitOutcome::done;
      if (predicate(load<kScope, kOrder>(address))) return true;
      outcome = WaitOutcome::stopped;
      if (stop_requested(limit)) return true;
      outcome = WaitOutcome::deadline;
      return now_ns() >= limit.expires_ns;
    };
    if (poll()) return outcome;
    SimtExecutor::Wait wait;
    wait.site = site;
    wait.ready = [](void* context) { return (*static_cast<decltype(poll)*>(context))(); };
    wait.context = &poll;
    wait.expires_ns = limit.expires_ns;
    executor_->suspend(wait);
    return outcome;
  }

  uint64_t now_ns() const { return executor_->now_ns(); }

 private:
  SimtExecutor* executor_;
};

static_assert(Warp<SimtWarp>);
static_assert(Platform<FiberPlatform>);

}  // namespace ringer::sim
