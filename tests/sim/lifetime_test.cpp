// SPDX-License-Identifier: Apache-2.0
// Creation, destruction, limits. Bug class R14: init and destroy a thousand times leaves nothing.
#include <string>

#include "support/catch.hpp"
#include "support/far_memory.hpp"
#include "support/queue_fixture.hpp"
#include "support/raw_poster.hpp"

namespace ringer::test {
namespace {

std::string refusal(soft::SoftBackend& backend, const QueuePairConfig& config) {
  const auto nic = backend.open_nic(0);
  try {
    nic->create_queue_pair(config);
  } catch (const BackendError& error) {
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("a thousand queue pairs and regions come and go without a trace", "[lifetime]") {
  sim::Fabric fabric;
  soft::SoftBackend backend(fabric);
  const auto nic = backend.open_nic(0);
  uint64_t memory[8] = {};
  {
    std::vector<std::unique_ptr<QueuePair>> kept;
    std::vector<std::unique_ptr<MemoryRegion>> regions;
    for (uint32_t i = 0; i < 1000; ++i) {
      auto qp = nic->create_queue_pair({8, CqMode::collapsed, 0, 0, 7});
      auto region = nic->register_memory(memory, sizeof(memory), access::all);
      if (i % 4 == 0) {
        kept.push_back(std::move(qp));
        regions.push_back(std::move(region));
      }
    }
    CHECK(fabric.nic(0).queue_pairs() == 250);
    CHECK(fabric.nic(0).memory_regions() == 250);
    CHECK(nic->caps().max_queue_pairs == sim::NicConfig{}.max_queue_pairs - 250);
  }
  CHECK(fabric.nic(0).queue_pairs() == 0);
  CHECK(fabric.nic(0).memory_regions() == 0);
}

TEST_CASE("queue pairs work in every order of creation and destruction", "[lifetime]") {
  sim::Fabric fabric;
  soft::SoftBackend backend(fabric);
  const QueuePairConfig config{8, CqMode::owner_bit, 0, 0, 7};
  for (uint64_t round = 1; round <= 300; ++round) {  // past the 8-bit generation of a number
    QueueEnd near(backend, 0, config, 1);
    QueueEnd far(backend, 1, config, 1);
    near.qp->connect(far.qp->address(), 1);
    far.qp->connect(near.qp->address(), 0);
    RawPoster poster(near.qp->device_view());
    poster.put(Wire::make_write_value(
        poster.head(), round, {reinterpret_cast<uint64_t>(far.words.data()), far.region->rkey()}));
    poster.ring();
    fabric.run_until_idle();
    REQUIRE(far.words[0] == round);
  }
  CHECK(fabric.violation_count() == 0);
}

TEST_CASE("a doorbell of a queue pair that is gone rings nobody", "[lifetime]") {
  QueueFixture f(ring_of(8, CqMode::owner_bit));
  RawPoster old(f.view);
  old.put(Wire::make_nop(old.head()));
  const DeviceQp view = f.view;
  f.near.qp.reset();
  *view.doorbell = Wire::doorbell_value(1, view.qpn);
  SECTION("gone") {
    f.fabric.run_until_idle();
    CHECK(f.fabric.violation_count() == 0);
  }
  SECTION("and its slot in use again") {
    f.near.qp = f.near.nic->create_queue_pair({8, CqMode::owner_bit, 0, 0, 7});
    CHECK(f.near.qp->address().qpn != view.qpn);
    f.fabric.run_until_idle();
    REQUIRE(f.fabric.violation_count() == 1);
    CHECK(f.fabric.violations().front().kind == sim::ViolationKind::doorbell_malformed);
  }
  CHECK(f.counters().wqes == 0);
}

TEST_CASE("a queue pair may be destroyed with work outstanding", "[lifetime]") {
  QueueFixture f(ring_of(8, CqMode::owner_bit));
  RawPoster poster(f.view);
  for (int i = 0; i < 4; ++i) poster.put(Wire::make_nop(poster.head()));
  poster.ring();
  f.fabric.step(1);
  f.near.qp.reset();
  f.fabric.run_until_idle();
  CHECK(f.counters().wqes == 1);
}

TEST_CASE("a full NIC says so and has room again after a destruction", "[lifetime]") {
  sim::NicConfig config;
  config.max_queue_pairs = 2;
  sim::Fabric fabric(config);
  soft::SoftBackend backend(fabric);
  const auto nic = backend.open_nic(0);
  const QueuePairConfig geometry{8, CqMode::collapsed, 0, 0, 7};
  const auto first = nic->create_queue_pair(geometry);
  auto second = nic->create_queue_pair(geometry);
  CHECK(nic->caps().max_queue_pairs == 0);
  const std::string text = refusal(backend, geometry);
  INFO(text);
  CHECK(contains(text, "create_queue_pair"));
  CHECK(contains(text, "no more than 2 queue pairs"));
  second.reset();
  CHECK(refusal(backend, geometry).empty());
}

TEST_CASE("a ring that the NIC cannot serve is refused with numbers", "[lifetime]") {
  sim::NicConfig config;
  config.max_sq_wqebbs = 1024;
  sim::Fabric fabric(config);
  soft::SoftBackend backend(fabric);
  for (const uint32_t wqebbs : {0u, 3u, 2048u}) {
    const std::string text = refusal(backend, {wqebbs, CqMode::collapsed, 0, 0, 7});
    INFO(text);
    CHECK(contains(text, std::to_string(wqebbs).c_str()));
    CHECK(contains(text, "up to 1024"));
  }
  CHECK(contains(refusal(backend, {8, CqMode::collapsed, 3, 0, 7}), "receive ring"));
  CHECK(fabric.nic(0).queue_pairs() == 0);
}

TEST_CASE("absurd numbers are errors with a reason", "[lifetime]") {
  sim::Fabric fabric;
  soft::SoftBackend backend(fabric);
  CHECK_THROWS_AS(fabric.nic(1u << 30), BackendError);
  CHECK_THROWS_AS(fabric.nic(0).deregister_memory(0), BackendError);
  CHECK_THROWS_AS(fabric.nic(0).deregister_memory(0x100), BackendError);
  CHECK_THROWS_AS(fabric.nic(0).doorbell_of(1), BackendError);
  CHECK_THROWS_AS(
      fabric.nic(0).register_memory(reinterpret_cast<void*>(16), ~uint64_t{0}, access::all),
      BackendError);
  sim::NicConfig none;
  none.max_queue_pairs = 0;
  sim::Fabric empty(none);
  CHECK_THROWS_AS(empty.nic(0), BackendError);
}

// Bug class: the host reads heads that lie in GPU memory.
TEST_CASE("a queue pair for kernels out of the host's reach never touches their memory",
          "[lifetime]") {
  FarMemory memory;
  sim::NicConfig nic_config;
  nic_config.memory = &memory;
  sim::Fabric fabric(nic_config);
  soft::SoftBackend backend(fabric);
  const auto nic = backend.open_nic(0);
  QueuePairConfig config{8, GENERATE(CqMode::collapsed, CqMode::owner_bit)};
  config.kernels = &memory;
  config.start_index = 7;
  const auto qp = nic->create_queue_pair(config);
  const auto far = nic->create_queue_pair({8, CqMode::collapsed});
  qp->connect(far->address(), 1);
  far->connect(qp->address(), 0);
  SqState heads;
  memory.read(&heads, qp->device_view().state, sizeof(heads));
  CHECK(heads.resv_head == 7);
  Status status;
  CHECK(qp->outstanding(status) == 0);
  CHECK(status.ok());
  qp->abort();
  CHECK(qp->outstanding(status) == 0);
  CHECK(status.code == StatusCode::aborted);
}

TEST_CASE("a queue pair has no device view before it is connected", "[lifetime]") {
  sim::Fabric fabric;
  soft::SoftBackend backend(fabric);
  const auto nic = backend.open_nic(0);
  const auto qp = nic->create_queue_pair({8, CqMode::collapsed, 0, 0, 7});
  CHECK_THROWS_AS(qp->device_view(), BackendError);
  QueuePairAddress nowhere{};
  nowhere.qpn = 0xffffff;
  CHECK_THROWS_AS(qp->connect(nowhere, 1), BackendError);
}

}  // namespace
}  // namespace ringer::test
