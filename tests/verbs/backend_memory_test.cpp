// SPDX-License-Identifier: Apache-2.0
// Memory that the host does not reach, registered with the mlx5 backend: windows and queues.
#include <algorithm>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <ringer/host_queue.hpp>
#include <ringer/verbs/registered_memory.hpp>

#include "backend_fixture.hpp"
#include "support/open_files.hpp"

using namespace ringer;
using namespace ringer::test;
using mlx5::Mlx5Settings;
using mlx5::QueueMaking;
using verbs::Registration;

namespace {

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

}  // namespace

TEST_CASE("mlx5 backend: memory that only its driver knows is registered as a dma-buf", "[verbs]") {
  DmaBufMemory memory;
  constexpr size_t kWords = 1024;
  KernelArray<uint64_t> window(memory, kWords, MemoryUse::window);
  const std::vector<uint64_t> before(kWords, 7);
  window.write(before);
  Mlx5Settings wanted = settings(QueueMaking::automatic);

  SECTION("a put arrives there") {
    wanted.registration.value = GENERATE(Registration::automatic, Registration::dmabuf);
    mlx5::Mlx5Backend backend(wanted);
    const auto nic = backend.open_nic(0);
    constexpr size_t kFirst = 517;  // not at the beginning of a page
    const auto files = open_files();
    const auto region = nic->register_memory(window.data() + kFirst, 16 * 8,
                                             access::all | access::relaxed_order, &memory);
    CHECK(open_files() == files);
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
  using verbs::RelaxedOrdering;
  const auto relaxed = [](uint32_t rights, RelaxedOrdering ordering) {
    return (verbs::access_flags(rights, ordering) & IBV_ACCESS_RELAXED_ORDERING) != 0;
  };
  const uint32_t asks = access::all | access::relaxed_order;
  CHECK(relaxed(asks, RelaxedOrdering::automatic));
  CHECK(relaxed(asks, RelaxedOrdering::on));
  CHECK_FALSE(relaxed(asks, RelaxedOrdering::off));
  CHECK_FALSE(relaxed(access::all, RelaxedOrdering::on));
  CHECK(verbs::access_flags(access::remote_read, RelaxedOrdering::off) == IBV_ACCESS_REMOTE_READ);
  CHECK(verbs::access_flags(access::remote_write, RelaxedOrdering::off) ==
        (IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_LOCAL_WRITE));
}

TEST_CASE("mlx5 backend: queues may lie where only kernels and the NIC reach them", "[verbs]") {
  DmaBufMemory memory;
  Mlx5Settings wanted = settings(QueueMaking::automatic);
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
