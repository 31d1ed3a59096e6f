// SPDX-License-Identifier: Apache-2.0
// Classes of defects that packet transports have had: what is lost with a queue pair, memory or a
// connection that goes amid the work, and who must still hear of it.
#include <sys/mman.h>

#include "wire_fixture.hpp"

using namespace ringer;
using namespace ringer::test;
using sim::QueuePairState;
using sim::VerbsQueuePairAttributes;
using Wire = mlx5::Wire;

namespace {

constexpr uint32_t kLarge = 8u << 20;  // more than a link holds

/// Mapped memory that can go while others use it.
struct Pages {
  explicit Pages(sim::Nic& to, bool on_demand = false) : nic(to) {
    at = static_cast<uint8_t*>(
        mmap(nullptr, kLarge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    REQUIRE(at != MAP_FAILED);
    key = nic.register_range(
        {reinterpret_cast<uint64_t>(at), kLarge, at, access::all, 1, 0, on_demand});
  }
  void vanish() {
    nic.deregister_memory(key);
    REQUIRE(munmap(at, kLarge) == 0);
  }
  sim::Nic& nic;
  uint8_t* at;
  uint32_t key = 0;
};

/// So many large READs that something can happen amid them.
void post_reads(WirePair& pair, const LocalRef& to, const RemoteRef& from) {
  for (int i = 0; i < 40; ++i) {
    pair.left->write(Wire::make_read(pair.left->head(), to, from, kLarge));
  }
  pair.left->ring();
}

uint32_t first_error(WirePair& pair) {
  for (int i = 0; i < 40; ++i) {
    if (const uint32_t syndrome = pair.sent().syndrome(); syndrome != 0) return syndrome;
  }
  return 0;
}

void drive(WirePair& pair, int turns) {
  for (int i = 0; i < turns; ++i) pair.drive();
}

void set_state(sim::Nic& nic, Qpn qpn, VerbsQueuePairAttributes a, QueuePairState state) {
  a.state = state;
  nic.modify_queue_pair(qpn, a);
}

VerbsQueuePairAttributes attributes_to(const WireEnd& remote) {
  VerbsQueuePairAttributes a;
  a.access = access::all;
  a.remote_qpn = remote.qpn;
  a.remote_lid = 1;
  a.mtu_bytes = 256;
  a.send_psn = a.receive_psn = 0xfffffe;
  a.timeout = 1;
  a.retry_count = 1;
  return a;
}

void reconnect(sim::Nic& nic, const WireEnd& end, const VerbsQueuePairAttributes& a) {
  nic.modify_queue_pair(end.qpn, {});
  for (const auto state : {QueuePairState::init, QueuePairState::rtr, QueuePairState::rts}) {
    set_state(nic, end.qpn, a, state);
  }
}

}  // namespace

TEST_CASE("defects: a completion queue without room amid acknowledgements ends the queue pair",
          "[wire]") {
  WirePair pair;
  const auto post_reads = [&](int count) {
    for (int i = 0; i < count; ++i) {
      pair.left->write(
          Wire::make_read(pair.left->head(), pair.left->at(0), pair.right->remote(0), 8));
    }
    pair.left->ring();
  };
  post_reads(64);
  // The last READ's data says that all 64 are complete.
  const sim::Nic& nic = pair.hosts[0]->nic(0);
  REQUIRE(drive_until([&] { return nic.counters().cqes.load() == 64; }, [&] { pair.drive(); }));
  post_reads(8);
  REQUIRE(drive_until([&] { return nic.state_of(pair.left->qpn) == QueuePairState::error; },
                      [&] { pair.drive(); }));
  for (uint16_t i = 0; i < 64; ++i) CHECK(pair.sent().tail.wqe_counter == i);
  // One has executed and found no room; the others are flushed now that there is some.
  for (uint16_t i = 65; i < 72; ++i) {
    const auto flushed = pair.sent();
    CHECK(flushed.tail.wqe_counter == i);
    CHECK(flushed.syndrome() == 0x05);
  }
}

TEST_CASE("defects: a malformed WQE waits for those in front of it", "[wire]") {
  WirePair pair;
  pair.left->write(
      Wire::make_read(pair.left->head(), pair.left->at(0), pair.right->remote(0), 4000));
  pair.left->write(
      Wire::make_write({pair.left->posted, pair.left->qpn + 1, mlx5::ctrl_flag::cq_update},
                       pair.left->at(0), pair.right->remote(0), 8));
  pair.left->ring();
  const auto read = pair.sent();
  CHECK(read.tail.wqe_counter == 0);
  CHECK(read.syndrome() == 0);
  const auto refused = pair.sent();
  CHECK(refused.tail.wqe_counter == 1);
  CHECK(refused.syndrome() == 0x02);
}

TEST_CASE("defects: a connection that disagrees on numbers or lids is retry exceeded", "[wire]") {
  WirePair pair;
  SECTION("packet sequence numbers: the requester is ahead") {
    VerbsQueuePairAttributes a = attributes_to(*pair.left);
    a.receive_psn = 0xfffff0;
    reconnect(pair.hosts[1]->nic(0), *pair.right, a);
  }
  SECTION("no such lid") {
    VerbsQueuePairAttributes a = attributes_to(*pair.right);
    a.remote_lid = 60;
    reconnect(pair.hosts[0]->nic(0), *pair.left, a);
  }
  pair.left->post(Wire::make_write(pair.left->head(), pair.left->at(0), pair.right->remote(0), 8));
  CHECK(pair.sent().syndrome() == 0x15);
}

TEST_CASE("defects: a queue pair that goes while it owes an answer leaves nobody waiting",
          "[wire]") {
  const bool destroyed = GENERATE(false, true);
  WirePair pair;
  pair.right->memory[0] = 9;
  post_reads(pair, pair.left->at(0), pair.right->remote(0));
  REQUIRE(drive_until([&] { return std::atomic_ref(pair.left->memory[0]).load() == 9; },
                      [&] { pair.drive(); }));
  if (destroyed) {
    pair.right.reset();
  } else {
    pair.hosts[1]->nic(0).modify_queue_pair(pair.right->qpn, {});
  }
  CHECK(first_error(pair) == 0x15);
}

TEST_CASE("defects: memory that goes amid a READ is refused, not read", "[wire]") {
  WirePair pair;
  SECTION("the responder's") {
    Pages pages(pair.hosts[1]->nic(0));
    pages.at[0] = 9;
    post_reads(pair, pair.left->at(0), {reinterpret_cast<uint64_t>(pages.at), pages.key});
    REQUIRE(drive_until([&] { return std::atomic_ref(pair.left->memory[0]).load() == 9; },
                        [&] { pair.drive(); }));
    pages.vanish();
    CHECK(first_error(pair) == 0x13);
  }
  SECTION("the requester's") {
    Pages pages(pair.hosts[0]->nic(0));
    pair.right->memory[0] = 9;
    post_reads(pair, {reinterpret_cast<uint64_t>(pages.at), pages.key}, pair.right->remote(0));
    REQUIRE(drive_until([&] { return std::atomic_ref(pages.at[0]).load() == 9; },
                        [&] { pair.drive(); }));
    pages.vanish();
    CHECK(first_error(pair) == 0x04);
  }
}

TEST_CASE("defects: on-demand memory that may not be touched is refused, not touched", "[wire]") {
  if (madvise(nullptr, 0, MADV_POPULATE_READ) != 0) {
    WARN("SKIPPED: this kernel cannot tell (Linux 5.14 can)");
    return;
  }
  WirePair pair;
  Pages pages(pair.hosts[1]->nic(0), true);
  const RemoteRef remote{reinterpret_cast<uint64_t>(pages.at), pages.key};
  SECTION("a WRITE to read-only pages") {
    REQUIRE(mprotect(pages.at, kLarge, PROT_READ) == 0);
    pair.left->post(Wire::make_write(pair.left->head(), pair.left->at(0), remote, 64));
    CHECK(pair.sent().syndrome() == 0x13);
  }
  SECTION("a READ of pages without any right") {
    REQUIRE(mprotect(pages.at, kLarge, PROT_NONE) == 0);
    pair.left->post(Wire::make_read(pair.left->head(), pair.left->at(0), remote, 64));
    CHECK(pair.sent().syndrome() == 0x13);
  }
  SECTION("but a READ of read-only pages is served") {
    pages.at[0] = 9;
    REQUIRE(mprotect(pages.at, kLarge, PROT_READ) == 0);
    pair.left->post(Wire::make_read(pair.left->head(), pair.left->at(0), remote, 64));
    CHECK(pair.sent().syndrome() == 0);
    CHECK(pair.left->memory[0] == 9);
  }
}

TEST_CASE("defects: a receive that is half full when its queue pair fails is flushed", "[wire]") {
  WirePair pair;
  constexpr uint32_t kTimes = 60;  // all memory: so much that something can happen amid it
  const std::vector<mlx5::DataSeg> room(kTimes,
                                        mlx5::make_data(pair.right->at(0), WireEnd::kMemoryBytes));
  for (int i = 0; i < 3; ++i) pair.right->post_receive(room);
  pair.left->memory[0] = 9;
  pair.left->write_large_send(kTimes);
  pair.left->ring();
  REQUIRE(drive_until([&] { return std::atomic_ref(pair.right->memory[0]).load() == 9; },
                      [&] { pair.drive(); }));
  set_state(pair.hosts[1]->nic(0), pair.right->qpn, attributes_to(*pair.left),
            QueuePairState::error);
  for (uint16_t i = 0; i < 3; ++i) {
    const auto flushed = pair.received();
    CHECK(flushed.tail.wqe_counter == i);
    CHECK(flushed.syndrome() == 0x05);
  }
  CHECK(pair.sent().syndrome() != 0);
}

TEST_CASE("defects: a record that has not been cleared after a reset announces nothing", "[wire]") {
  WirePair pair;
  WireEnd& left = *pair.left;
  for (uint8_t i = 1; i < 9; ++i) {
    left.memory[0] = i;
    left.post(Wire::make_write(left.head(), left.at(0), pair.right->remote(0), 1));
    pair.sent();
  }
  sim::Nic& nic = pair.hosts[0]->nic(0);
  nic.modify_queue_pair(left.qpn, {});
  left.ring();  // by another queue pair of the same page
  drive(pair, 1000);
  left.posted = 0;
  left.announce();
  reconnect(pair.hosts[1]->nic(0), *pair.right, attributes_to(left));
  pair.right->memory[0] = 0x77;
  reconnect(nic, left, attributes_to(*pair.right));
  left.memory[0] = 0x33;
  left.post(Wire::make_write(left.head(), left.at(0), pair.right->remote(1), 1));
  CHECK(pair.sent().tail.wqe_counter == 0);
  CHECK(pair.right->memory[0] == 0x77);
  CHECK(pair.right->memory[1] == 0x33);
}

TEST_CASE("defects: an unreliable connection goes on after a loss", "[wire]") {
  WireOptions options;
  options.transport = sim::Transport::uc;
  WirePair pair(options, options);
  sim::Nic& right = pair.hosts[1]->nic(0);
  right.modify_queue_pair(pair.right->qpn, {});
  pair.left->post(
      Wire::make_write(pair.left->head(), pair.left->at(0), pair.right->remote(0), 1000));
  CHECK(pair.sent().syndrome() == 0);  // and lost
  drive(pair, 1000);
  pair.right->connect(pair.left->qpn);
  pair.left->memory[0] = 1;
  pair.left->post(
      Wire::make_write(pair.left->head(), pair.left->at(0), pair.right->remote(0), 1000));
  REQUIRE(drive_until([&] { return std::atomic_ref(pair.right->memory[0]).load() == 1; },
                      [&] { pair.drive(); }));
}

TEST_CASE("defects: a send queue that is drained ends the message that it has begun", "[wire]") {
  WirePair pair;
  pair.left->memory[0] = 9;
  pair.left->post(
      Wire::make_write(pair.left->head(), pair.left->at(0), pair.right->remote(0), kLarge));
  REQUIRE(drive_until([&] { return std::atomic_ref(pair.right->memory[0]).load() == 9; },
                      [&] { pair.drive(); }));
  set_state(pair.hosts[0]->nic(0), pair.left->qpn, attributes_to(*pair.right), QueuePairState::sqd);
  pair.left->post(Wire::make_write(pair.left->head(), pair.left->at(0), pair.right->remote(0), 8));
  CHECK(pair.sent().tail.wqe_counter == 0);
  drive(pair, 1000);
  CHECK_FALSE(pair.left->poll_send().has_value());
  set_state(pair.hosts[0]->nic(0), pair.left->qpn, attributes_to(*pair.right), QueuePairState::rts);
  pair.left->ring();
  CHECK(pair.sent().tail.wqe_counter == 1);
}

TEST_CASE("defects: packets of an earlier connection do not reach the next one", "[wire]") {
  WirePair pair;
  WireEnd other(pair.hosts[0]->nic(0));
  pair.right->post_receive({mlx5::make_data(pair.right->at(0), 4000)});
  // `other` believes that it is connected to the right end, which knows the left one only.
  other.connect(pair.right->qpn);
  other.post(Wire::make_send(other.head(), other.at(0), 100));
  const auto refused = pair.next([&] { return other.poll_send(); });
  CHECK(refused.syndrome() == 0x15);
  CHECK_FALSE(pair.right->poll_receive().has_value());
  pair.left->memory[0] = 5;
  pair.left->post(Wire::make_send(pair.left->head(), pair.left->at(0), 1));
  pair.received();
  CHECK(pair.right->memory[0] == 5);
}
