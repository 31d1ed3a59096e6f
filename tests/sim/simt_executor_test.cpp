// SPDX-License-Identifier: Apache-2.0
// Kernels as fibers: barriers, waits, and reports instead of hangs.
#include <stdexcept>
#include <string>
#include <vector>

#include <ringer/sim/simt_executor.hpp>

#include "support/catch.hpp"

namespace ringer::test {
namespace {

using sim::FiberPlatform;
using sim::Grid;
using sim::SimtExecutor;
using sim::SimtOptions;
using sim::SimtWarp;

SimtOptions pumped(
    uint64_t seed = 0, std::function<bool()> pump = [] { return false; }) {
  return {std::move(pump), {}, seed};
}

sim::LaunchReport launch(SimtExecutor& executor, const Grid& grid) {
  return executor.launch({&grid, 1});
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("every warp of every block runs once and knows its place", "[simt]") {
  SimtExecutor executor(pumped(GENERATE(as<uint64_t>{}, 0, 1, 2)));
  std::vector<int> ran(3 * 4);
  Grid grid{"kernel", 3, 4, 0, [&](SimtWarp w) {
              CHECK(w.blocks() == 3);
              CHECK(w.warps_per_block() == 4);
              CHECK(warps_in_grid(w) == 12);
              ++ran[warp_in_grid(w)];
            }};
  CHECK(launch(executor, grid).completed);
  CHECK(ran == std::vector<int>(12, 1));
}

TEST_CASE("strided, leader and broadcast do each thing once a warp", "[simt]") {
  SimtExecutor executor(pumped());
  std::vector<int> touched(100);
  int led = 0;
  Grid grid{"kernel", 1, 1, 0, [&](SimtWarp w) {
              w.strided(100, [&](uint64_t i) { ++touched[i]; });
              w.leader([&] { ++led; });
              CHECK(w.broadcast([] { return 42; }) == 42);
            }};
  launch(executor, grid);
  CHECK(touched == std::vector<int>(100, 1));
  CHECK(led == 1);
}

TEST_CASE("a barrier lets nobody through before all have come", "[simt]") {
  SimtExecutor executor(pumped(GENERATE(range(0u, 8u))));
  int in_block[2] = {};
  int in_grid = 0;
  bool held = true;
  Grid grid{"kernel", 2, 5, 0, [&](SimtWarp w) {
              for (int phase = 1; phase <= 3; ++phase) {
                w.sync();
                ++in_block[w.block()];
                w.block_sync();
                held = held && in_block[w.block()] == 5 * phase;
                w.block_sync();
              }
              ++in_grid;
              w.grid_sync();
              held = held && in_grid == 10;
            }};
  CHECK(launch(executor, grid).completed);
  CHECK(held);
}

TEST_CASE("a named barrier joins only its group", "[simt]") {
  SimtExecutor executor(pumped(GENERATE(range(0u, 8u))));
  int count[2] = {};
  bool held = true;
  Grid grid{"kernel", 1, 5, 0, [&](SimtWarp w) {
              const uint32_t group = w.warp_in_block() < 2 ? 0 : 1;
              const uint32_t warps = group == 0 ? 2 : 3;
              const int rounds = group == 0 ? 4 : 2;  // the groups do not wait for each other
              for (int round = 1; round <= rounds; ++round) {
                w.sync();
                ++count[group];
                w.group_sync(group, warps);
                held = held && count[group] == static_cast<int>(warps) * round;
                w.group_sync(group, warps);
              }
            }};
  CHECK(launch(executor, grid).completed);
  CHECK(held);
  CHECK((count[0] == 8 && count[1] == 6));
}

TEST_CASE("warps that disagree on a named barrier are told", "[simt]") {
  SimtExecutor executor(pumped());
  Grid grid{"kernel", 1, 3, 0, [](SimtWarp w) { w.group_sync(1, w.warp_in_block() + 2); }};
  CHECK_THROWS_AS(launch(executor, grid), std::logic_error);
  Grid too_many{"kernel", 1, 2, 0, [](SimtWarp w) { w.group_sync(0, 3); }};
  CHECK_THROWS_AS(launch(executor, too_many), std::logic_error);
  Grid no_such{"kernel", 1, 2, 0, [](SimtWarp w) { w.group_sync(15, 2); }};
  CHECK_THROWS_AS(launch(executor, no_such), std::logic_error);
}

TEST_CASE("shared memory is the block's own, zeroed at each launch, and bounded", "[simt]") {
  SimtExecutor executor(pumped());
  bool zeroed = true;
  bool own = true;
  Grid grid{"kernel", 2, 3, 16, [&](SimtWarp w) {
              auto* words = static_cast<uint64_t*>(w.shared(16));
              if (w.warp_in_block() == 0) zeroed = zeroed && words[0] == 0 && words[1] == 0;
              w.block_sync();
              words[0] += w.block() + 1;
              w.grid_sync();
              own = own && words[0] == 3 * (w.block() + 1);
            }};
  for (int i = 0; i < 3; ++i) CHECK(launch(executor, grid).completed);
  CHECK(zeroed);
  CHECK(own);
  Grid greedy{"kernel", 1, 1, 16, [](SimtWarp w) { w.shared(17); }};
  CHECK_THROWS_AS(launch(executor, greedy), std::logic_error);
}

TEST_CASE("grids launched together wait for each other's memory", "[simt]") {
  SimtExecutor executor(pumped(GENERATE(range(0u, 4u))));
  FiberPlatform p(executor);
  uint64_t ball = 0;
  const auto player = [&](uint64_t mine) {
    return [&, mine](SimtWarp) {
      for (uint64_t i = 0; i < 10; ++i) {
        const uint64_t turn = 2 * i + mine;
        p.wait_until<Scope::sys, Order::acquire>(
            &ball, [&](uint64_t now) { return now == turn; }, {}, "the ball");
        p.store<Scope::sys, Order::release>(&ball, turn + 1);
      }
    };
  };
  const Grid grids[] = {{"ping", 1, 1, 0, player(0)}, {"pong", 1, 1, 0, player(1)}};
  CHECK(executor.launch(grids).completed);
  CHECK(ball == 20);
}

TEST_CASE("a missing barrier arrival is reported by name", "[simt]") {
  SimtExecutor executor(pumped(GENERATE(as<uint64_t>{}, 0, 7)));
  Grid grid{"rank 3 dispatch", 2, 3, 0, [](SimtWarp w) {
              if (w.block() == 1 && w.warp_in_block() == 2) return;
              w.block_sync();
            }};
  const auto report = launch(executor, grid);
  CHECK_FALSE(report.completed);
  INFO(report.deadlock);
  CHECK(contains(report.deadlock, "2 warps wait"));
  CHECK(contains(report.deadlock,
                 "rank 3 dispatch block 1 warp 0 waits for block barrier (2 of 3 warps arrived)"));
  CHECK_FALSE(contains(report.deadlock, "block 0"));
}

TEST_CASE("a wait that nothing can satisfy is reported with its site", "[simt]") {
  uint64_t pumps = 0;
  SimtExecutor executor(pumped(0, [&] { return ++pumps < 50; }));
  FiberPlatform p(executor);
  const uint64_t flag = 0;
  Grid grid{"waiter", 1, 2, 0, [&](SimtWarp w) {
              if (w.warp_in_block() == 0) return;
              p.wait_until<Scope::sys, Order::acquire>(
                  &flag, [](uint64_t now) { return now != 0; }, {}, "token arrival");
            }};
  const auto report = launch(executor, grid);
  CHECK_FALSE(report.completed);
  INFO(report.deadlock);
  CHECK(contains(report.deadlock, "waiter block 0 warp 1 waits for token arrival"));
  CHECK(pumps >= 50);  // not before the world stood still
}

TEST_CASE("without a pump a wait is given up when the world is at rest", "[simt]") {
  uint64_t asked = 0;
  SimtExecutor executor({{}, [&] { return ++asked > 5; }, 0});
  FiberPlatform p(executor);
  const uint64_t flag = 0;
  Grid grid{"waiter", 1, 1, 0, [&](SimtWarp) {
              p.wait_until<Scope::sys, Order::acquire>(
                  &flag, [](uint64_t now) { return now != 0; }, {}, "nothing");
            }};
  const auto report = launch(executor, grid);
  CHECK_FALSE(report.completed);
  CHECK(contains(report.deadlock, "waits for nothing"));
  CHECK(asked > 5);
}

TEST_CASE("the pump's work ends a wait", "[simt]") {
  uint64_t flag = 0;
  SimtExecutor executor(pumped(0, [&] { return ++flag < 100; }));
  FiberPlatform p(executor);
  WaitOutcome outcome = WaitOutcome::deadline;
  Grid grid{"waiter", 1, 1, 0, [&](SimtWarp) {
              outcome = p.wait_until<Scope::sys, Order::acquire>(
                  &flag, [](uint64_t now) { return now >= 30; }, {}, "pump");
            }};
  CHECK(launch(executor, grid).completed);
  CHECK(outcome == WaitOutcome::done);
  CHECK(flag >= 30);
}

TEST_CASE("a deadline passes in virtual time and is no deadlock", "[simt]") {
  SimtExecutor executor(pumped());
  FiberPlatform p(executor);
  const uint64_t flag = 0;
  constexpr uint64_t kHour = 3'600'000'000'000;
  WaitOutcome outcome = WaitOutcome::done;
  bool others_waited = false;
  const uint64_t began = p.now_ns();
  Grid grid{"waiter", 1, 2, 0, [&](SimtWarp w) {
              if (w.warp_in_block() == 0) {
                outcome = p.wait_until<Scope::sys, Order::acquire>(
                    &flag, [](uint64_t now) { return now != 0; }, limit_after(p, kHour), "never");
              }
              w.block_sync();
              others_waited = outcome == WaitOutcome::deadline;
            }};
  CHECK(launch(executor, grid).completed);
  CHECK(outcome == WaitOutcome::deadline);
  CHECK(others_waited);
  CHECK(p.now_ns() >= began + kHour);
}

TEST_CASE("a stop word ends a wait", "[simt]") {
  uint32_t stop = 0;
  SimtExecutor executor(pumped(0, [&] { return stop++ == 0; }));
  FiberPlatform p(executor);
  const uint64_t flag = 0;
  WaitOutcome outcome = WaitOutcome::done;
  Grid grid{"waiter", 1, 1, 0, [&](SimtWarp) {
              outcome = p.wait_until<Scope::sys, Order::acquire>(
                  &flag, [](uint64_t now) { return now != 0; }, {~uint64_t{0}, &stop}, "never");
            }};
  CHECK(launch(executor, grid).completed);
  CHECK(outcome == WaitOutcome::stopped);
}

struct Guard {
  int& alive;
  explicit Guard(int& count) : alive(count) { ++alive; }
  ~Guard() { --alive; }
};

TEST_CASE("a kernel's exception comes out and the other warps unwind", "[simt]") {
  SimtExecutor executor(pumped(GENERATE(as<uint64_t>{}, 0, 3, 4)));
  int alive = 0;
  int most = 0;
  Grid grid{"thrower", 2, 4, 0, [&](SimtWarp w) {
              const Guard guard(alive);
              most = std::max(most, alive);
              if (w.block() == 1 && w.warp_in_block() == 3) {
                throw std::runtime_error("kernel failed");
              }
              w.grid_sync();
            }};
  CHECK_THROWS_WITH(launch(executor, grid), "kernel failed");
  CHECK(most > 1);
  CHECK(alive == 0);

  int ran = 0;  // and the executor is as good as new
  Grid good{"good", 2, 4, 0, [&](SimtWarp w) {
              w.grid_sync();
              ++ran;
            }};
  CHECK(launch(executor, good).completed);
  CHECK(ran == 8);
}

TEST_CASE("a deadlocked launch unwinds its warps", "[simt]") {
  SimtExecutor executor(pumped());
  int alive = 0;
  Grid grid{"stuck", 1, 3, 0, [&](SimtWarp w) {
              const Guard guard(alive);
              if (w.warp_in_block() != 0) w.block_sync();
            }};
  CHECK_FALSE(launch(executor, grid).completed);
  CHECK(alive == 0);
}

/// The order in which warps pass their steps.
std::vector<uint32_t> order_of(uint64_t seed) {
  SimtExecutor executor(pumped(seed));
  std::vector<uint32_t> order;
  Grid grid{"kernel", 2, 4, 0, [&](SimtWarp w) {
              for (int i = 0; i < 8; ++i) {
                order.push_back(warp_in_grid(w));
                w.sync();
              }
            }};
  launch(executor, grid);
  return order;
}

TEST_CASE("the same seed gives the same interleaving and another seed another", "[simt]") {
  CHECK(order_of(5) == order_of(5));
  CHECK(order_of(5) != order_of(6));
  CHECK(order_of(0) == order_of(0));
  CHECK(order_of(5).size() == 64);
}

TEST_CASE("fibers serve many launches of different shapes", "[simt]") {
  SimtExecutor executor(pumped());
  for (uint32_t i = 0; i < 300; ++i) {
    const uint32_t blocks = 1 + i % 3;
    const uint32_t warps = 1 + i % 5;
    uint32_t ran = 0;
    Grid grid{"kernel", blocks, warps, 0, [&](SimtWarp w) {
                w.grid_sync();
                ++ran;
              }};
    REQUIRE(launch(executor, grid).completed);
    REQUIRE(ran == blocks * warps);
  }
}

TEST_CASE("a launch of nothing completes", "[simt]") {
  SimtExecutor executor(pumped());
  CHECK(executor.launch({}).completed);
}

}  // namespace
}  // namespace ringer::test
