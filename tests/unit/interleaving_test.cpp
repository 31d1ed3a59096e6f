// SPDX-License-Identifier: Apache-2.0
// Posters that share a queue pair, changed over before any shared access, for many seeds.
#include <ringer/endpoint.hpp>

#include "support/catch.hpp"
#include "support/interleaver.hpp"
#include "support/queue_fixture.hpp"

namespace ringer::test {
namespace {

constexpr uint64_t kSeeds = 60;
constexpr uint64_t kPosters = 3;
constexpr uint64_t kPosts = 12;

QueueSetup any_queue() {
  const auto mode = GENERATE(CqMode::collapsed, CqMode::owner_bit);
  const auto start = GENERATE(as<uint64_t>{}, 0, 65536 - 3, (uint64_t{1} << 32) - 3);
  return ring_of(4, mode, start);
}

// Bug class: sequence drawn before the slot is reserved, so that 2 is posted and then 1.
TEMPLATE_TEST_CASE("signals of interleaved posters arrive as 1, 2, 3 and never step back",
                   "[interleaving]", SharedByCta, SharedByGpu) {
  const QueueSetup setup = any_queue();
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    INFO("seed " << seed);
    QueueFixture f(setup);
    uint64_t sequence = 0;
    uint64_t seen = 0;
    bool in_order = true;
    Interleaver posters(seed, f.probe, [&] {
      f.fabric.step(1);
      in_order = in_order && (f.far.words[0] == seen || f.far.words[0] == seen + 1);
      seen = f.far.words[0];
    });
    for (uint64_t p = 0; p < kPosters; ++p) {
      posters.add([&f, &sequence] {
        auto ep = f.endpoint<TestType>();
        for (uint64_t i = 0; i < kPosts; ++i) {
          const PostFlags flags{i % 2 == 0, i % 3 == 0};
          if (!ep.signal({f.remote(0), &sequence}, flags, f.never()).status.ok()) return;
        }
        ep.flush(f.never());
      });
    }
    posters.run();
    REQUIRE(in_order);
    REQUIRE(f.far.words[0] == kPosters * kPosts);
    REQUIRE(f.violations() == "");
  }
}

using EveryThird = QueuePolicy<Sharing::gpu, Placement::host, EveryDoorbell>;
using Adaptive = QueuePolicy<Sharing::gpu, Placement::host, AdaptiveDoorbell>;

template <class Policy>
Policy policy_of() {
  return {};
}
template <>
EveryThird policy_of<EveryThird>() {
  return {{3}, {}};
}

// Bug class R6: concurrent posting races on one queue pair (ucx#10927, mori#607, torchcomms#3113).
TEMPLATE_TEST_CASE("interleaved posters lose nothing and keep their own order", "[interleaving]",
                   SharedByCta, SharedByGpu, EveryThird, Adaptive) {
  const QueueSetup setup = any_queue();
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    INFO("seed " << seed);
    QueueFixture f(setup);
    bool in_order = true;
    std::vector<uint64_t> seen(kPosters);
    std::vector<StatusCode> ended(kPosters, StatusCode::invalid);
    Interleaver posters(seed, f.probe, [&] {
      f.fabric.step(1);
      for (uint64_t p = 0; p < kPosters; ++p) {
        in_order = in_order && (f.far.words[p] == seen[p] || f.far.words[p] == seen[p] + 1);
        seen[p] = f.far.words[p];
      }
    });
    for (uint64_t p = 0; p < kPosters; ++p) {
      posters.add([&f, &ended, p] {
        auto ep = f.endpoint<TestType>(policy_of<TestType>());
        Status status;
        for (uint64_t i = 1; i <= kPosts && status.ok(); ++i) {
          const PostFlags flags{i % 4 == 0, i % 5 == 0};
          status = ep.put_inline(i, f.remote(p), flags, f.never()).status;
        }
        if (status.ok()) status = ep.flush(f.never());
        // Flushed: the own last value must be there now, not later.
        if (status.ok() && f.far.words[p] != kPosts) status = make_status(StatusCode::no_credit);
        ended[p] = status.code;
      });
    }
    posters.run();
    REQUIRE(in_order);
    for (const StatusCode code : ended) REQUIRE(code == StatusCode::ok);
    REQUIRE(f.violations() == "");
  }
}

TEST_CASE("batches and refused reservations interleave without a gap", "[interleaving]") {
  const QueueSetup setup = any_queue();
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    INFO("seed " << seed);
    QueueFixture f(setup);
    const uint64_t start = f.heads().resv_head;
    uint64_t taken = 0;
    Interleaver posters(seed, f.probe, [&] { f.fabric.step(1); });
    posters.add([&f] {
      auto ep = f.endpoint<SharedByGpu>();
      const auto build = [&](uint64_t i, const Wire::Head& head) {
        return Wire::make_write_value(head, i + 1, f.remote(i));
      };
      const Posted posted = ep.post_batch(15, kLoud, f.never(), build);
      if (posted.status.ok()) ep.wait(posted.ticket, f.never());
    });
    posters.add([&f, &taken] {
      auto queue = f.queue<SharedByGpu>();
      for (int tries = 0; tries < 40; ++tries) {
        const Reserved reserved = queue.try_reserve(1);
        if (!reserved.status.ok()) continue;
        const uint64_t index = reserved.range.base;
        const Wire::Head head{index, f.view.qpn, Wire::signal_flags(true)};
        queue.write(index, Wire::make_write_value(head, ++taken, f.remote(100)));
        queue.publish(reserved.range, true, f.never());
      }
    });
    posters.run();
    f.fabric.run_until_idle();
    for (uint64_t i = 0; i < 15; ++i) REQUIRE(f.far.words[i] == i + 1);
    REQUIRE(f.far.words[100] == taken);
    REQUIRE(f.heads().ready_head == start + 15 + taken);
    REQUIRE(f.violations() == "");
  }
}

}  // namespace
}  // namespace ringer::test
