// SPDX-License-Identifier: Apache-2.0
// Real threads on HostPlatform and the NIC on a thread of its own: what TSan is to look at.
#include <atomic>
#include <thread>
#include <vector>

#include <ringer/endpoint.hpp>
#include <ringer/fifo_proxy.hpp>
#include <ringer/host_platform.hpp>

#include "support/catch.hpp"
#include "support/channel_fixture.hpp"
#include "support/queue_fixture.hpp"

namespace ringer::test {
namespace {

constexpr uint64_t kPosters = 4;
constexpr uint64_t kPosts = 2000;
constexpr uint64_t kTimeoutNs = 60'000'000'000;  // only a defect takes so long

template <class Policy>
StatusCode post_values(const QueueFixture& f, uint64_t poster) {
  HostPlatform p;
  Endpoint<HostPlatform, Policy> ep(p, f.view);
  const WaitLimit limit = limit_after(p, kTimeoutNs);
  for (uint64_t i = 1; i <= kPosts; ++i) {
    const PostFlags flags{i % 4 == 0, i % 8 == 0};
    const Status status = ep.put_inline(i, f.remote(poster), flags, limit).status;
    if (!status.ok()) return status.code;
  }
  return ep.flush(limit).code;
}

TEST_CASE("posters on threads share a small ring and lose nothing", "[threads]") {
  const auto mode = GENERATE(CqMode::collapsed, CqMode::owner_bit);
  QueueFixture f(ring_of(16, mode, 65536 - 3));
  std::vector<StatusCode> ended(kPosters, StatusCode::invalid);
  {
    const sim::NicThread nic(f.fabric);
    std::vector<std::jthread> posters;
    for (uint64_t p = 0; p < kPosters; ++p) {
      posters.emplace_back([&f, &ended, p] { ended[p] = post_values<SharedByGpu>(f, p); });
    }
  }
  for (const StatusCode code : ended) CHECK(code == StatusCode::ok);
  for (uint64_t p = 0; p < kPosters; ++p) CHECK(f.far.words[p] == kPosts);
  CHECK(f.violations() == "");
}

template <class Policy>
void post_to_served_queue() {
  constexpr bool kExclusive = Policy::kSharing == Sharing::exclusive;
  constexpr uint64_t kSharers = kExclusive ? 1 : kPosters;
  QueueFixture f(ring_of(16, CqMode::collapsed, 65536 - 3));
  std::vector<StatusCode> ended(kSharers + 1, StatusCode::invalid);
  std::atomic<uint64_t> finished{0};
  uint32_t done = 0;
  {
    const sim::NicThread nic(f.fabric);
    std::vector<std::jthread> threads;
    for (uint64_t p = 0; p < kSharers; ++p) {
      threads.emplace_back([&, p] {
        ended[p] = post_values<Policy>(f, p);
        if (++finished == kSharers) {
          HostPlatform{}.store<Scope::gpu, Order::release>(&done, 1u);  // pairs with serve()
        }
      });
    }
    threads.emplace_back([&] {
      const HostPlatform p;
      SendQueue<HostPlatform, Wire, Policy> queue(p, f.view);
      ended[kSharers] = queue.serve(&done, limit_after(p, kTimeoutNs)).code;
    });
  }
  for (const StatusCode code : ended) CHECK(code == StatusCode::ok);
  for (uint64_t p = 0; p < kSharers; ++p) CHECK(f.far.words[p] == kPosts);
  CHECK(f.violations() == "");
}

TEST_CASE("a server on a thread rings for posters on threads", "[threads]") {
  constexpr auto kBefore = RecordOrder::before_doorbell;
  SECTION("one poster") {
    post_to_served_queue<QueuePolicy<Sharing::exclusive, Placement::host, TailDoorbell, TailSignal,
                                     kBefore, RungBy::server>>();
  }
  SECTION("several") {
    post_to_served_queue<QueuePolicy<Sharing::gpu, Placement::host, TailDoorbell, TailSignal,
                                     kBefore, RungBy::server>>();
  }
}

// Bug class: sequence and slot drawn separately (the seed's port_signal).
TEST_CASE("a signal of threads counts every post and never steps back", "[threads]") {
  QueueFixture f(ring_of(16));
  uint64_t sequence = 0;
  std::atomic<uint64_t> failed{0};
  bool in_order = true;
  uint64_t last = 0;
  {
    const sim::NicThread nic(f.fabric);
    std::vector<std::jthread> posters;
    for (uint64_t p = 0; p < kPosters; ++p) {
      posters.emplace_back([&f, &sequence, &failed] {
        HostPlatform host;
        Endpoint<HostPlatform, SharedByGpu> ep(host, f.view);
        const WaitLimit limit = limit_after(host, kTimeoutNs);
        for (uint64_t i = 0; i < kPosts; ++i) {
          const PostFlags flags{true, i % 4 == 3};
          if (!ep.signal({f.remote(0), &sequence}, flags, limit).status.ok()) return void(++failed);
        }
        if (!ep.flush(limit).ok()) ++failed;
      });
    }
    HostPlatform host;
    const WaitLimit limit = limit_after(host, kTimeoutNs);
    for (uint64_t step = 1; step <= kPosters * kPosts; step += 97) {
      if (!wait_signal(host, &f.far.words[0], step, limit).ok()) break;
      const uint64_t now = host.load<Scope::sys, Order::acquire>(&f.far.words[0]);
      in_order = in_order && now >= last && now >= step;
      last = now;
    }
  }
  CHECK(failed == 0);
  CHECK(in_order);
  CHECK(f.far.words[0] == kPosters * kPosts);
  CHECK(f.violations() == "");
}

TEST_CASE("data is visible to the thread that sees the signal behind it", "[threads]") {
  QueueFixture f(ring_of(16));
  uint64_t sequence = 0;
  bool exact = true;
  {
    const sim::NicThread nic(f.fabric);
    HostPlatform host;
    Endpoint<HostPlatform, SharedByGpu> ep(host, f.view);
    const WaitLimit limit = limit_after(host, kTimeoutNs);
    for (uint64_t i = 1; i <= 500 && exact; ++i) {
      for (size_t w = 0; w < 32; ++w) f.near.words[w] = i * 1000 + w;
      ep.put(f.local(0), f.remote(0), 32 * 8, kSilent, limit);
      ep.signal({f.remote(100), &sequence}, kLoud, limit);
      exact = wait_signal(host, &f.far.words[100], i, limit).ok();
      for (size_t w = 0; w < 32; ++w) exact = exact && f.far.words[w] == i * 1000 + w;
    }
  }
  CHECK(exact);
}

TEST_CASE("kernels on threads push to a proxy on a thread", "[threads]") {
  ChannelSetup setup;
  setup.fifo_depth = 16;
  ChannelFixture f(setup);
  std::atomic<uint64_t> failed{0};
  {
    const sim::NicThread nic(f.fabric);
    const FifoProxyThreads proxy({f.proxies[0].get()}, 1);
    std::vector<std::jthread> pushers;
    for (uint32_t p = 0; p < 2; ++p) {
      pushers.emplace_back([&f, &failed, p] {
        HostPlatform host;
        Fifo<HostPlatform> fifo(host, f.fifos[0]);
        const WaitLimit limit = limit_after(host, kTimeoutNs);
        for (uint64_t i = 0; i < kPosts; ++i) {
          if (!fifo.push(FifoOp::add_value, 0, 1 + p, 0, 1, 8, limit).ok()) ++failed;
        }
        if (!fifo.flush(limit).ok()) ++failed;
      });
    }
  }
  CHECK(failed == 0);
  for (const size_t peer : {1u, 2u}) CHECK(f.windows[peer][0] == kPosts);
  CHECK(f.violations() == "");
}

}  // namespace
}  // namespace ringer::test
