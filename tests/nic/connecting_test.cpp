// SPDX-License-Identifier: Apache-2.0
// Connections by librdmacm, which only devices of the kernel's know: hidden, `ci/softroce test`
// runs them.
#include <cstdlib>
#include <cstring>

#include <ringer/verbs/verbs_backend.hpp>

#include "nic_fixture.hpp"

using namespace ringer;
using namespace ringer::test;

namespace {

struct Ends {
  explicit Ends(verbs::Connecting near, verbs::Connecting far) {
    for (verbs::Connecting connecting : {near, far}) {
      auto settings =
          verbs::read_verbs_settings([](const char* name) { return std::getenv(name); });
      settings.connecting.value = connecting;
      const auto rank = static_cast<uint32_t>(nics.size());
      nics.push_back(verbs::VerbsBackend(settings).open_nic(rank));
      windows.emplace_back(64);
      regions.push_back(nics.back()->register_memory(windows.back().data(), 64, access::all));
      pairs.push_back(nics.back()->create_queue_pair(QueuePairConfig{64}));
    }
  }

  void connect(size_t from) {
    const size_t to = 1 - from;
    pairs[from]->connect(pairs[to]->address(), static_cast<uint32_t>(to));
  }

  void require_carries(size_t from) {
    const size_t to = 1 - from;
    std::memset(windows[from].data(), static_cast<int>(40 + from), 64);
    std::memset(windows[to].data(), 0, 64);
    const auto address = [](std::vector<uint8_t>& w) {
      return reinterpret_cast<uint64_t>(w.data());
    };
    const WorkRequest put{WorkRequest::Kind::put,
                          64,
                          {address(windows[from]), regions[from]->lkey()},
                          {address(windows[to]), regions[to]->rkey()},
                          0};
    const HostPlatform host;
    const WaitLimit soon = limit_after(host, 60'000'000'000);
    PostOutcome posted{};
    do {  // not before whoever has asked lets the other end know
      posted = pairs[from]->post({&put, 1});
    } while (posted.status.code == StatusCode::no_credit && host.now_ns() < soon.expires_ns);
    REQUIRE(posted.status.ok());
    Status status;
    while (pairs[from]->outstanding(status) != 0) {
      REQUIRE(status.ok());
      REQUIRE(host.now_ns() < soon.expires_ns);
    }
    CHECK(windows[to] == windows[from]);
  }

  std::vector<std::unique_ptr<Nic>> nics;
  std::vector<std::vector<uint8_t>> windows;
  std::vector<std::unique_ptr<MemoryRegion>> regions;
  std::vector<std::unique_ptr<QueuePair>> pairs;
};

constexpr auto kCm = verbs::Connecting::cm;
constexpr auto kExchange = verbs::Connecting::exchange;

}  // namespace

TEST_CASE("cm: whichever end comes first, both carry", "[.][connecting]") {
  for (const size_t first : {0u, 1u}) {
    Ends ends(kCm, kCm);
    CHECK(ends.pairs[0]->address().cm_port != 0);
    ends.connect(first);
    ends.connect(1 - first);
    ends.require_carries(0);
    ends.require_carries(1);
  }
}

TEST_CASE("cm: ends that connect in different ways say so", "[.][connecting]") {
  Ends ends(kCm, kExchange);
  CHECK_THROWS_WITH(ends.connect(0),
                    "connect: rank 1 does not connect by librdmacm "
                    "(RINGER_IB_CONNECT)");
  CHECK_THROWS_WITH(ends.connect(1),
                    "connect: rank 0 connects by librdmacm, this one does not "
                    "(RINGER_IB_CONNECT)");
}

TEST_CASE("cm: a queue pair that is no more is asked for in vain", "[.][connecting]") {
  int asked = 0;
  for (const size_t asking : {0u, 1u}) {
    Ends ends(kCm, kCm);
    const size_t gone = 1 - asking;
    const QueuePairAddress address = ends.pairs[gone]->address();
    ends.pairs[gone].reset();
    try {
      ends.pairs[asking]->connect(address, 7);  // one of the two leaves it to its peer
    } catch (const BackendError& error) {
      ++asked;
      CHECK_THAT(error.what(), contains("rdma_connect") && contains("to rank 7: "));
    }
  }
  CHECK(asked == 1);
}

TEST_CASE("cm: whoever is not the peer gets no queue pair", "[.][connecting]") {
  Ends ends(kCm, kCm);
  Ends others(kCm, kCm);
  int asked = 0;
  for (const size_t asking : {0u, 1u}) {
    const size_t answering = 1 - asking;
    ends.connect(answering);  // or asks, and is connected
    try {
      others.pairs[asking]->connect(ends.pairs[answering]->address(), 7);
    } catch (const BackendError& error) {
      ++asked;
      CHECK_THAT(error.what(), contains("rdma_connect") && contains("to rank 7: "));
    }
  }
  CHECK(asked == 1);
}
