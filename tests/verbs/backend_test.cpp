// SPDX-License-Identifier: Apache-2.0
// The mlx5 backend on the device that there is: queue pairs of both makings, doorbells of both
// ways, teardown in any order, and what goes wrong.
#include <cstring>

#include "backend_fixture.hpp"
#include "support/failing_memory.hpp"

using namespace ringer;
using namespace ringer::test;
using mlx5::DoorbellWay;
using mlx5::Mlx5Settings;
using mlx5::QueueMaking;

namespace {

/// Memory whose registers cannot be mapped, as on a GPU without the driver's consent.
class FarMemory : public KernelMemory {
 public:
  void* allocate(size_t bytes, MemoryUse use) override {
    return host_memory().allocate(bytes, use);
  }
  void release(void* at, size_t bytes, MemoryUse use) noexcept override {
    host_memory().release(at, bytes, use);
  }
  void write(void* to, const void* from, size_t bytes) override { std::memcpy(to, from, bytes); }
  void read(void* to, const void* from, size_t bytes) override { std::memcpy(to, from, bytes); }
  bool host_reachable() const override { return true; }
  void* map_registers(void*, size_t) override { throw BackendError("registers are out of reach"); }
};

}  // namespace

TEST_CASE("mlx5 backend: queue pairs of both makings carry puts, values and adds", "[verbs]") {
  const auto making = GENERATE(QueueMaking::verbs, QueueMaking::devx);
  const auto doorbells = GENERATE(DoorbellWay::automatic, DoorbellWay::cpu);
  const bool far = GENERATE(false, true);
  CAPTURE(making, doorbells, far);
  FarMemory memory;
  mlx5::Mlx5Backend backend(settings(making, doorbells));
  const auto nic = backend.open_nic(0);
  QueuePairConfig config;
  config.sq_wqebbs = 16;
  config.cq_mode = GENERATE(CqMode::collapsed, CqMode::owner_bit);
  config.kernels = far ? &memory : nullptr;
  End a(*nic, config), b(*nic, config);
  a.qp->connect(b.qp->address(), 1);
  b.qp->connect(a.qp->address(), 0);
  const DeviceQp view = a.qp->device_view();
  CHECK(view.cq_mode == (making == QueueMaking::devx ? config.cq_mode : CqMode::owner_bit));
  CHECK(view.sq_wqebbs >= 16);
  uint64_t total = 0;
  for (uint64_t round = 0; round < 1000; ++round) {
    a.words[0] = round;
    const WorkRequest requests[] = {
        {WorkRequest::Kind::put, 8, a.local(0), b.remote(1), 0},
        {WorkRequest::Kind::put_value, 0, {}, b.remote(2), round * 3},
        {WorkRequest::Kind::add_value, 0, a.local(3), b.remote(4), round},
    };
    total += round;
    const PostOutcome outcome = a.qp->post(requests);
    REQUIRE(outcome.status.ok());
    REQUIRE(outcome.posted == 3);
    REQUIRE(drained(*a.qp).ok());
    REQUIRE(b.words[1] == round);
    REQUIRE(b.words[2] == round * 3);
    REQUIRE(b.words[4] == total);
  }
}

TEST_CASE("mlx5 backend: registers out of reach are an error where no CPU may help", "[verbs]") {
  FarMemory memory;
  mlx5::Mlx5Backend backend(settings(QueueMaking::devx, DoorbellWay::gpu));
  const auto nic = backend.open_nic(0);
  QueuePairConfig config;
  config.kernels = &memory;
  CHECK_THROWS_AS(nic->create_queue_pair(config), BackendError);
  config.kernels = nullptr;
  CHECK_NOTHROW(nic->create_queue_pair(config));
}

TEST_CASE("mlx5 backend: a wrong key becomes a status that names queue pair and syndrome",
          "[verbs]") {
  const auto making = GENERATE(QueueMaking::verbs, QueueMaking::devx);
  mlx5::Mlx5Backend backend(settings(making));
  const auto nic = backend.open_nic(0);
  End a(*nic, {}), b(*nic, {});
  a.qp->connect(b.qp->address(), 7);
  b.qp->connect(a.qp->address(), 0);
  RemoteRef wrong = b.remote(1);
  wrong.rkey += 256;
  const WorkRequest request{WorkRequest::Kind::put, 8, a.local(0), wrong, 0};
  REQUIRE(a.qp->post({&request, 1}).posted == 1);
  const Status status = drained(*a.qp);
  CHECK(status.code == StatusCode::qp_error);
  CHECK(status.syndrome == 0x13);
  CHECK(status.peer == 7);
  CHECK(a.qp->first_error().qpn == a.qp->device_view().qpn);
}

TEST_CASE("mlx5 backend: objects go in any order, and everything with them", "[verbs]") {
  const auto making = GENERATE(QueueMaking::verbs, QueueMaking::devx);
  const bool nic_first = GENERATE(false, true);
  mlx5::Mlx5Backend backend(settings(making));
  for (int i = 0; i < 50; ++i) {
    auto nic = backend.open_nic(0);
    auto a = std::make_unique<End>(*nic, QueuePairConfig{});
    auto b = std::make_unique<End>(*nic, QueuePairConfig{});
    a->qp->connect(b->qp->address(), 1);
    if (nic_first) nic.reset();
    b.reset();
    a->region.reset();
    a.reset();
  }
}

TEST_CASE("mlx5 backend: a creation that fails at any step leaves nothing", "[verbs]") {
  const auto making = GENERATE(QueueMaking::verbs, QueueMaking::devx);
  const auto doorbells = GENERATE(DoorbellWay::gpu, DoorbellWay::cpu);
  mlx5::Mlx5Backend backend(settings(making, doorbells));
  const auto nic = backend.open_nic(0);
  CHECK(fail_at_each_step(*nic, {}) > (making == QueueMaking::devx ? 4u : 2u));
  End near(*nic, {16});
  End far(*nic, {16});
  near.qp->connect(far.qp->address(), 1);
  far.qp->connect(near.qp->address(), 0);
  near.words[0] = 42;
  const WorkRequest put{WorkRequest::Kind::put, 8, near.local(0), far.remote(3), 0};
  REQUIRE(near.qp->post({&put, 1}).posted == 1);
  CHECK(drained(*near.qp).ok());
  CHECK(far.words[3] == 42);
}

TEST_CASE("mlx5 backend: what cannot be is refused with device and reason", "[verbs]") {
  mlx5::Mlx5Backend backend(settings(QueueMaking::automatic));
  const auto nic = backend.open_nic(0);
  QueuePairConfig config;
  config.start_index = 5;
  CHECK_THROWS_AS(nic->create_queue_pair(config), BackendError);
  CHECK_THROWS_AS(nic->register_memory(reinterpret_cast<void*>(4096), 4096, access::all),
                  BackendError);
  End alone(*nic, {});
  CHECK_THROWS_AS(alone.qp->device_view(), BackendError);
  QueuePairAddress other_link = alone.qp->address();
  other_link.is_ethernet ^= 1;
  CHECK_THROWS_AS(alone.qp->connect(other_link, 1), BackendError);
  Mlx5Settings nowhere;
  nowhere.devices = {"mlx4_0", "a test"};
  mlx5::Mlx5Backend lost(nowhere);
  CHECK_THROWS_AS(lost.open_nic(0), BackendError);
}
