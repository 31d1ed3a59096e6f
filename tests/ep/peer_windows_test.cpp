// SPDX-License-Identifier: Apache-2.0
// Who may still store to a window when its owner goes.
#include <atomic>
#include <memory>
#include <thread>

#include <ringer/ep/peer_windows.hpp>
#include <ringer/host_platform.hpp>

#include "support/catch.hpp"

namespace ringer::ep {
namespace {

constexpr uint64_t kLongNs = 60'000'000'000;
constexpr size_t kContents = 4096;

/// One of two ranks with its window; both live here, and open each other's as processes would.
struct Rank {
  Rank(uint32_t rank, uint64_t timeout_ns)
      : window(host_memory(), kContents, MemoryUse::shared_window),
        windows(std::make_unique<PeerWindows>(host_memory(), window, rank, 2, timeout_ns)) {}
  KernelArray<uint8_t> window;
  std::unique_ptr<PeerWindows> windows;
};

}  // namespace

TEST_CASE("a window waits for the peer that has it open", "[ep][windows]") {
  Rank first(0, kLongNs), second(1, kLongNs);
  uint8_t* theirs = second.windows->open(0, first.windows->share());
  first.windows->open(1, second.windows->share());
  theirs[7] = 7;
  CHECK(first.window.data()[7] == 7);
  std::atomic<bool> leaving{false}, closed{false};
  {
    const std::jthread peer([&] {
      while (!leaving) std::this_thread::yield();
      closed = true;
      second.windows->close();
    });
    leaving = true;
    first.windows.reset();
    CHECK(closed);
  }
  CHECK(first.window.data() != nullptr);
  second.windows.reset();  // the first has gone: there is nobody to wait for
  CHECK(second.window.data() != nullptr);
}

TEST_CASE("a peer that never closes costs a time limit and the memory, no more", "[ep][windows]") {
  Rank first(0, 1'000'000), second(1, 1'000'000);
  uint8_t* theirs = second.windows->open(0, first.windows->share());
  first.windows->open(1, second.windows->share());
  uint8_t* const before = first.window.data();
  first.windows.reset();
  CHECK(first.window.data() == nullptr);  // nobody releases it now
  theirs[0] = 1;
  CHECK(before[0] == 1);
}

TEST_CASE("whoever has opened nothing, or is told so, waits for nobody", "[ep][windows]") {
  Rank first(0, kLongNs), second(1, kLongNs);
  const auto start = HostPlatform{}.now_ns();
  SECTION("nothing was opened") {}
  SECTION("all have closed") {
    first.windows->open(1, second.windows->share());
    first.windows->forget_peers();
  }
  first.windows.reset();
  CHECK(first.window.data() != nullptr);
  CHECK(HostPlatform{}.now_ns() - start < kLongNs);
}

}  // namespace ringer::ep
