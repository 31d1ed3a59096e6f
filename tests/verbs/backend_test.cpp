// SPDX-License-Identifier: Apache-2.0
// The mlx5 backend on the device that there is: queue pairs of both makings, doorbells of both
// ways, teardown in any order, and what goes wrong.
#include <algorithm>
#include <cstring>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <ringer/host_queue.hpp>
#include <ringer/mlx5/mlx5_backend.hpp>

#include "registered_memory.hpp"
#include "support/catch.hpp"

using namespace ringer;
using mlx5::DoorbellWay;
using mlx5::FabricSettings;
using mlx5::QueueMaking;
using mlx5::Registration;
using test::contains;

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

/// Memory one of whose services fails, counted from 0; and what has been taken is counted.
class FailingMemory : public KernelMemory {
 public:
  explicit FailingMemory(uint32_t fails_at) : calls_left_(fails_at) {}
  void* allocate(size_t bytes, MemoryUse use) override {
    count_call("allocate");
    ++taken;
    return host_memory().allocate(bytes, use);
  }
  void release(void* at, size_t bytes, MemoryUse use) noexcept override {
    --taken;
    host_memory().release(at, bytes, use);
  }
  void write(void* to, const void* from, size_t bytes) override {
    count_call("write");
    std::memcpy(to, from, bytes);
  }
  void read(void* to, const void* from, size_t bytes) override { std::memcpy(to, from, bytes); }
  bool host_reachable() const override { return true; }
  void* map_registers(void* page, size_t) override {
    count_call("map_registers");
    ++taken;
    return page;
  }
  void unmap_registers(void*) noexcept override { --taken; }

  int taken = 0;

 private:
  void count_call(const char* name) {
    if (calls_left_-- == 0) throw BackendError(std::string(name) + ": injected");
  }
  uint32_t calls_left_;
};

/// Memory as a GPU's: its addresses say nothing to the kernel, and a NIC finds it as a dma-buf.
/// Queues are the exception, for the posters of these tests run on the host.
class DmaBufMemory : public KernelMemory {
 public:
  void* allocate(size_t bytes, MemoryUse use) override {
    const auto size = static_cast<off_t>(whole_pages(bytes));
    uses.push_back(use);
    Piece piece;
    piece.file = memfd_create("device memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    REQUIRE(piece.file >= 0);
    REQUIRE(ftruncate(piece.file, size) == 0);
    const bool by_address = use != MemoryUse::window;
    piece.at = map_file(bytes, by_address ? PROT_READ | PROT_WRITE : PROT_NONE, piece.file);
    piece.copy = map_file(bytes, PROT_READ | PROT_WRITE, piece.file);
    pieces_.push_back(piece);
    return piece.at;
  }
  void release(void* at, size_t bytes, MemoryUse) noexcept override {
    const auto piece =
        std::find_if(pieces_.begin(), pieces_.end(), [&](const Piece& p) { return p.at == at; });
    munmap(piece->at, whole_pages(bytes));
    munmap(piece->copy, whole_pages(bytes));
    ::close(piece->file);
    pieces_.erase(piece);
  }
  void write(void* to, const void* from, size_t bytes) override {
    std::memcpy(copy_of(to), from, bytes);
  }
  void read(void* to, const void* from, size_t bytes) override {
    std::memcpy(to, copy_of(from), bytes);
  }
  bool host_reachable() const override { return false; }
  DmaBuf export_dmabuf(const void* at, size_t) override {
    if (!exports) throw BackendError("no export");
    const Piece& piece = piece_of(at);
    return {dup(piece.file), static_cast<uint64_t>(static_cast<const uint8_t*>(at) - piece.at)};
  }

  bool exports = true;
  std::vector<MemoryUse> uses;  ///< what has been asked for

 private:
  struct Piece {
    uint8_t* at = nullptr;
    uint8_t* copy = nullptr;
    int file = -1;
  };
  static size_t whole_pages(size_t bytes) { return (bytes + 4095) / 4096 * 4096; }
  static uint8_t* map_file(size_t bytes, int rights, int file) {
    void* at = mmap(nullptr, whole_pages(bytes), rights, MAP_SHARED, file, 0);
    REQUIRE(at != MAP_FAILED);
    return static_cast<uint8_t*>(at);
  }
  // Allocations are looked up by the last one that begins before.
  const Piece& piece_of(const void* at) const {
    const Piece* found = nullptr;
    for (const Piece& piece : pieces_) {
      const bool begins = piece.at <= at;
      if (begins && (found == nullptr || piece.at > found->at)) found = &piece;
    }
    REQUIRE(found != nullptr);
    return *found;
  }
  uint8_t* copy_of(const void* at) const {
    const Piece& piece = piece_of(at);
    return piece.copy + (static_cast<const uint8_t*>(at) - piece.at);
  }

  std::vector<Piece> pieces_;
};

struct End {
  End(Nic& nic, const QueuePairConfig& config)
      : words(64),
        region(nic.register_memory(words.data(), words.size() * 8, access::all)),
        qp(nic.create_queue_pair(config)) {}
  RemoteRef remote(size_t word) const {
    return {reinterpret_cast<uint64_t>(&words[word]), region->rkey()};
  }
  LocalRef local(size_t word) const {
    return {reinterpret_cast<uint64_t>(&words[word]), region->lkey()};
  }
  std::vector<uint64_t> words;
  std::unique_ptr<MemoryRegion> region;
  std::unique_ptr<QueuePair> qp;
};

Status drained(QueuePair& qp) {
  Status status;
  for (uint64_t i = 0; i < 100'000'000; ++i) {
    if (qp.outstanding(status) == 0 || !status.ok()) return status;
    std::this_thread::yield();
  }
  return make_status(StatusCode::deadline);
}

FabricSettings settings(QueueMaking queues, DoorbellWay doorbells = DoorbellWay::automatic) {
  FabricSettings s;
  s.queues.value = queues;
  s.doorbells.value = doorbells;
  s.timeout.value = 8;
  s.retry_count.value = 1;
  return s;
}

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
  uint32_t step = 0;
  for (bool made = false; !made; ++step) {
    REQUIRE(step < 20);
    FailingMemory memory(step);
    QueuePairConfig config;
    config.sq_wqebbs = 16;
    config.kernels = &memory;
    try {
      const auto qp = nic->create_queue_pair(config);
      made = true;
    } catch (const BackendError& e) {
      CHECK_THAT(e.what(), contains("injected"));
    }
    CHECK(memory.taken == 0);
  }
  CHECK(step > (making == QueueMaking::devx ? 4u : 2u));
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

TEST_CASE("mlx5 backend: memory that only its driver knows is registered as a dma-buf", "[verbs]") {
  DmaBufMemory memory;
  constexpr size_t kWords = 1024;
  KernelArray<uint64_t> window(memory, kWords, MemoryUse::window);
  const std::vector<uint64_t> before(kWords, 7);
  window.write(before);
  FabricSettings wanted = settings(QueueMaking::automatic);

  SECTION("a put arrives there") {
    wanted.registration.value = GENERATE(Registration::automatic, Registration::dmabuf);
    mlx5::Mlx5Backend backend(wanted);
    const auto nic = backend.open_nic(0);
    constexpr size_t kFirst = 517;  // not at the beginning of a page
    const auto region = nic->register_memory(window.data() + kFirst, 16 * 8,
                                             access::all | access::relaxed_order, &memory);
    End near(*nic, {16});
    End far(*nic, {16});
    near.qp->connect(far.qp->address(), 1);
    far.qp->connect(near.qp->address(), 0);
    near.words[0] = 42;
    const WorkRequest put{WorkRequest::Kind::put,
                          8,
                          near.local(0),
                          {reinterpret_cast<uint64_t>(window.data() + kFirst), region->rkey()},
                          0};
    REQUIRE(near.qp->post({&put, 1}).posted == 1);
    CHECK(drained(*near.qp).ok());
    std::vector<uint64_t> after(kWords);
    window.read(after);
    CHECK(after[kFirst] == 42);
    CHECK(after[kFirst + 1] == 7);
    CHECK(after[kFirst - 1] == 7);
    // Its end is an end.
    WorkRequest beyond = put;
    beyond.remote.address += 16 * 8;
    REQUIRE(near.qp->post({&beyond, 1}).posted == 1);
    CHECK(drained(*near.qp).syndrome == 0x13);
  }
  SECTION("by its address it cannot be") {
    wanted.registration.value = Registration::address;
    mlx5::Mlx5Backend backend(wanted);
    const auto nic = backend.open_nic(0);
    CHECK_THROWS_WITH(nic->register_memory(window.data(), 64, access::all, &memory),
                      contains("ibv_reg_mr") && !contains("dmabuf"));
  }
  SECTION("all that has been tried is named") {
    memory.exports = GENERATE(false, true);
    mlx5::Mlx5Backend backend(wanted);
    const auto nic = backend.open_nic(0);
    const size_t bytes = memory.exports ? kWords * 8 + 4096 : 64;  // beyond its end
    const auto attempt = [&] {
      return nic->register_memory(window.data(), bytes, access::all, &memory);
    };
    if (memory.exports) {
      CHECK_THROWS_WITH(attempt(), contains("ibv_reg_dmabuf_mr: Invalid argument; ibv_reg_mr: "));
    } else {
      CHECK_THROWS_WITH(attempt(), contains("no export; ibv_reg_mr: Bad address"));
    }
  }
  SECTION("as a dma-buf or not at all") {
    wanted.registration.value = Registration::dmabuf;
    memory.exports = false;
    mlx5::Mlx5Backend backend(wanted);
    const auto nic = backend.open_nic(0);
    CHECK_THROWS_WITH(nic->register_memory(window.data(), 64, access::all, &memory),
                      contains("no export") && !contains("ibv_reg_mr"));
  }
}

TEST_CASE("mlx5 backend: only what asks for it may be written in any order", "[verbs]") {
  using mlx5::RelaxedOrdering;
  const auto relaxed = [](uint32_t rights, RelaxedOrdering ordering) {
    return (mlx5::access_flags(rights, ordering) & IBV_ACCESS_RELAXED_ORDERING) != 0;
  };
  const uint32_t asks = access::all | access::relaxed_order;
  CHECK(relaxed(asks, RelaxedOrdering::automatic));
  CHECK(relaxed(asks, RelaxedOrdering::on));
  CHECK_FALSE(relaxed(asks, RelaxedOrdering::off));
  CHECK_FALSE(relaxed(access::all, RelaxedOrdering::on));
  CHECK(mlx5::access_flags(access::remote_read, RelaxedOrdering::off) == IBV_ACCESS_REMOTE_READ);
  CHECK(mlx5::access_flags(access::remote_write, RelaxedOrdering::off) ==
        (IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_LOCAL_WRITE));
}

TEST_CASE("mlx5 backend: queues may lie where only kernels and the NIC reach them", "[verbs]") {
  DmaBufMemory memory;
  FabricSettings wanted = settings(QueueMaking::automatic);
  wanted.queue_memory.value = mlx5::QueueMemory::near;
  wanted.registration.value = Registration::dmabuf;
  mlx5::Mlx5Backend backend(wanted);
  const auto nic = backend.open_nic(0);
  QueuePairConfig config;
  config.sq_wqebbs = 16;
  config.kernels = &memory;
  config.cq_mode = GENERATE(CqMode::collapsed, CqMode::owner_bit);
  End near(*nic, config);
  End far(*nic, config);
  CHECK(std::count(memory.uses.begin(), memory.uses.end(), MemoryUse::near_queue) == 2);
  CHECK(std::count(memory.uses.begin(), memory.uses.end(), MemoryUse::queue) == 0);
  near.qp->connect(far.qp->address(), 1);
  far.qp->connect(near.qp->address(), 0);
  const DeviceQp view = near.qp->device_view();
  HostPoster kernel(view);  // in the kernel's place
  near.words[0] = 42;
  constexpr int kPosts = 40;
  for (int i = 0; i < kPosts; ++i) {
    const WorkRequest put{WorkRequest::Kind::put, 8, near.local(0),
                          far.remote(static_cast<size_t>(i)), 0};
    Status status;
    while (kernel.post({&put, 1}).posted == 0) kernel.outstanding(status);
    REQUIRE(status.ok());
  }
  CHECK(drained(*near.qp).ok());
  for (size_t i = 0; i < kPosts; ++i) CHECK(far.words[i] == 42);
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
  FabricSettings nowhere;
  nowhere.devices = {"mlx4_0", "a test"};
  mlx5::Mlx5Backend lost(nowhere);
  CHECK_THROWS_AS(lost.open_nic(0), BackendError);
}
