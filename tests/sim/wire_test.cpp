// SPDX-License-Identifier: Apache-2.0
// Queue pairs that talk by packets: what arrives, in which order, and how each request ends.
#include <numeric>

#include "wire_fixture.hpp"

using namespace ringer;
using namespace ringer::test;
using mlx5::CqeOpcode;
using Wire = mlx5::Wire;

namespace {

constexpr uint32_t kMtu = 256;
const uint32_t kSizes[] = {0, 1, 8, kMtu - 1, kMtu, kMtu + 1, 2 * kMtu, 10 * kMtu + 3};

void fill(WireEnd& end, uint32_t seed) {
  for (size_t i = 0; i < 65536; ++i) end.memory[i] = static_cast<uint8_t>(i * 7 + seed + i / 251);
}

bool same(const WireEnd& a, uint64_t from, const WireEnd& b, uint64_t to, uint64_t bytes) {
  return std::memcmp(a.memory.data() + from, b.memory.data() + to, bytes) == 0;
}

}  // namespace

TEST_CASE("packets: writes and reads of every length arrive whole", "[wire]") {
  const bool two_hosts = GENERATE(false, true);
  WirePair pair({}, {}, two_hosts);
  fill(*pair.left, 1);
  for (const uint32_t bytes : kSizes) {
    CAPTURE(two_hosts, bytes);
    std::fill(pair.right->memory.begin(), pair.right->memory.begin() + 65536, uint8_t{0xee});
    pair.left->post(
        Wire::make_write(pair.left->head(), pair.left->at(3), pair.right->remote(5), bytes));
    const auto written = pair.sent();
    CHECK(written.tail.opcode == CqeOpcode::requester);
    CHECK(written.cqe.srqn_uidx.value() == 77);
    CHECK(same(*pair.left, 3, *pair.right, 5, bytes));
    CHECK(pair.right->memory[4] == 0xee);
    CHECK(pair.right->memory[5 + bytes] == 0xee);
    pair.left->post(
        Wire::make_read(pair.left->head(), pair.left->at(100000), pair.right->remote(5), bytes));
    const auto read = pair.sent();
    CHECK(read.tail.opcode == CqeOpcode::requester);
    CHECK(read.cqe.byte_cnt.value() == bytes);
    CHECK(same(*pair.left, 100000, *pair.right, 5, bytes));
  }
}

TEST_CASE("packets: a message larger than the link", "[wire]") {
  WirePair pair;
  const uint32_t bytes = 5u << 20;
  for (uint32_t i = 0; i < bytes; ++i)
    pair.left->memory[i] = static_cast<uint8_t>(i * 13 + i / 509);
  pair.left->write(
      Wire::make_write(pair.left->head(), pair.left->at(0), pair.right->remote(0), bytes));
  pair.left->write(
      Wire::make_read(pair.left->head(), pair.left->at(6u << 20), pair.right->remote(0), bytes));
  pair.left->ring();
  CHECK(pair.sent().tail.wqe_counter == 0);
  CHECK(same(*pair.left, 0, *pair.right, 0, bytes));
  CHECK(pair.sent().tail.wqe_counter == 1);
  CHECK(same(*pair.left, 6u << 20, *pair.right, 0, bytes));
}

TEST_CASE("packets: sends find receives, scattered, with and without immediate", "[wire]") {
  WirePair pair;
  fill(*pair.left, 2);
  for (const uint32_t bytes : kSizes) {
    CAPTURE(bytes);
    pair.right->post_receive(
        {mlx5::make_data(pair.right->at(7), 5), mlx5::make_data(pair.right->at(1000), 60000)});
    pair.left->post(Wire::make_send(pair.left->head(), pair.left->at(0), bytes));
    const auto received = pair.received();
    CHECK(received.tail.opcode == CqeOpcode::responder_send);
    CHECK(received.cqe.byte_cnt.value() == bytes);
    CHECK(same(*pair.left, 0, *pair.right, 7, std::min(bytes, 5u)));
    if (bytes > 5) CHECK(same(*pair.left, 5, *pair.right, 1000, bytes - 5));
    CHECK(pair.sent().tail.opcode == CqeOpcode::requester);
    pair.right->post_receive({});
    pair.left->post(Wire::make_write_imm(pair.left->head(), pair.left->at(0), pair.right->remote(9),
                                         bytes, 0xabcd + bytes));
    const auto immediate = pair.received();
    CHECK(immediate.tail.opcode == CqeOpcode::responder_write_imm);
    CHECK(immediate.cqe.imm.value() == 0xabcd + bytes);
    CHECK(immediate.cqe.byte_cnt.value() == bytes);
    CHECK(same(*pair.left, 0, *pair.right, 9, bytes));
    CHECK(pair.sent().tail.opcode == CqeOpcode::requester);
  }
}

TEST_CASE("packets: atomics of both kinds", "[wire]") {
  WirePair pair;
  auto* word = reinterpret_cast<uint64_t*>(pair.right->memory.data() + 64);
  auto* result = reinterpret_cast<uint64_t*>(pair.left->memory.data() + 128);
  *word = 40;
  pair.left->post(
      Wire::make_fetch_add(pair.left->head(), 2, pair.left->at(128), pair.right->remote(64)));
  CHECK(pair.sent().cqe.byte_cnt.value() == 8);
  CHECK(*result == 40);
  CHECK(*word == 42);
  pair.left->post(Wire::make_compare_swap(pair.left->head(), 42, 7, pair.left->at(128),
                                          pair.right->remote(64)));
  pair.sent();
  CHECK(*result == 42);
  CHECK(*word == 7);
  *word = 0xffffffff00000009;
  pair.left->post(
      Wire::make_fetch_add4(pair.left->head(), 3, pair.left->at(128), pair.right->remote(64)));
  pair.sent();
  CHECK(static_cast<uint32_t>(*result) == 9);
  CHECK(*word == 0xffffffff0000000c);
  pair.left->post(Wire::make_compare_swap4(pair.left->head(), 12, 1, pair.left->at(128),
                                           pair.right->remote(64)));
  pair.sent();
  CHECK(*word == 0xffffffff00000001);
  pair.left->post(
      Wire::make_fetch_add(pair.left->head(), 2, pair.left->at(128), pair.right->remote(68)));
  CHECK(pair.sent().syndrome() == 0x12);
}

TEST_CASE("packets: many unsignaled requests complete in order, more READs than the limit",
          "[wire]") {
  WireOptions options;
  options.max_reads = 2;
  WirePair pair(options);
  fill(*pair.left, 3);
  for (uint32_t i = 0; i < 40; ++i) {
    const uint8_t flags = i % 8 == 7 ? mlx5::ctrl_flag::cq_update : uint8_t{0};
    if (i % 3 == 0) {
      pair.left->write(Wire::make_read(pair.left->head(flags), pair.left->at(70000 + i * 1000),
                                       pair.right->remote(0), 700));
    } else {
      pair.left->write(Wire::make_write(pair.left->head(flags), pair.left->at(0),
                                        pair.right->remote(i * 1000), 900));
    }
  }
  pair.left->ring();
  for (uint32_t i = 7; i < 40; i += 8) CHECK(pair.sent().tail.wqe_counter == i);
  CHECK_FALSE(pair.left->poll_send().has_value());
}

TEST_CASE("packets: a fence holds back what follows until READs have returned", "[wire]") {
  WirePair pair;
  for (uint32_t i = 0; i < 20000; ++i) pair.right->memory[i] = 1;
  for (int round = 0; round < 8; ++round) {
    // Overwrites at the peer what the READ before is still to fetch, from where it lands.
    pair.left->write(
        Wire::make_read(pair.left->head(0), pair.left->at(0), pair.right->remote(0), 20000));
    pair.left->write(
        Wire::make_write(pair.left->head(mlx5::ctrl_flag::cq_update | mlx5::ctrl_flag::fence),
                         pair.left->at(0), pair.right->remote(30000), 20000));
    pair.left->ring();
    pair.sent();
    CHECK(same(*pair.left, 0, *pair.right, 30000, 20000));
    for (uint32_t i = 0; i < 20000; ++i) pair.right->memory[i] = static_cast<uint8_t>(round + i);
  }
}

TEST_CASE("packets: a receiver that is not ready is tried again, or given up", "[wire]") {
  WireOptions options;
  const bool endless = GENERATE(true, false);
  options.rnr_retry = endless ? 7 : 2;
  WirePair pair(options);
  fill(*pair.left, 4);
  pair.left->write(
      Wire::make_write(pair.left->head(), pair.left->at(0), pair.right->remote(0), 600));
  pair.left->write(Wire::make_send(pair.left->head(), pair.left->at(0), 1000));
  pair.left->write(
      Wire::make_write_imm(pair.left->head(), pair.left->at(0), pair.right->remote(2000), 1000, 5));
  pair.left->ring();
  CHECK(pair.sent().tail.wqe_counter == 0);
  if (!endless) {
    const auto failed = pair.sent();
    CHECK(failed.tail.wqe_counter == 1);
    CHECK(failed.syndrome() == 0x16);
    CHECK(pair.sent().syndrome() == 0x05);
    return;
  }
  for (int i = 0; i < 2000; ++i) pair.drive();
  CHECK_FALSE(pair.left->poll_send().has_value());
  pair.right->post_receive({mlx5::make_data(pair.right->at(4000), 1000)});
  CHECK(pair.sent().tail.wqe_counter == 1);
  CHECK(same(*pair.left, 0, *pair.right, 4000, 1000));
  for (int i = 0; i < 2000; ++i) pair.drive();
  CHECK_FALSE(pair.left->poll_send().has_value());
  pair.right->post_receive({});
  CHECK(pair.sent().tail.wqe_counter == 2);
  CHECK(pair.received().tail.opcode == CqeOpcode::responder_send);
  CHECK(pair.received().cqe.imm.value() == 5);
}

TEST_CASE("packets: what a peer refuses has the syndrome a ConnectX gives", "[wire]") {
  struct Case {
    const char* name;
    uint32_t responder_access;
    uint32_t syndrome;
    std::function<Wire::Wqe(WireEnd&, WireEnd&)> wqe;
    bool receives;
  };
  const auto bad_key = [](RemoteRef remote) {
    return RemoteRef{remote.address, remote.rkey + 256};
  };
  const Case cases[] = {
      {"bad rkey", access::all, 0x13,
       [&](WireEnd& l, WireEnd& r) {
         return Wire::make_write(l.head(), l.at(0), bad_key(r.remote(0)), 8);
       },
       false},
      {"bad range", access::all, 0x13,
       [](WireEnd& l, WireEnd& r) {
         return Wire::make_write(l.head(), l.at(0), r.remote(WireEnd::kMemoryBytes - 4), 8);
       },
       false},
      {"read bad rkey", access::all, 0x13,
       [&](WireEnd& l, WireEnd& r) {
         return Wire::make_read(l.head(), l.at(0), bad_key(r.remote(0)), 8);
       },
       false},
      {"no right to write", access::remote_read, 0x13,
       [](WireEnd& l, WireEnd& r) { return Wire::make_write(l.head(), l.at(0), r.remote(0), 8); },
       false},
      {"no right to read", access::remote_write, 0x13,
       [](WireEnd& l, WireEnd& r) { return Wire::make_read(l.head(), l.at(0), r.remote(0), 8); },
       false},
      {"no right to atomics", access::remote_write, 0x13,
       [](WireEnd& l, WireEnd& r) {
         return Wire::make_fetch_add(l.head(), 1, l.at(0), r.remote(0));
       },
       false},
      {"bad lkey", access::all, 0x04,
       [](WireEnd& l, WireEnd& r) {
         return Wire::make_write(l.head(), {l.address(0), l.key + 256}, r.remote(0), 8);
       },
       false},
      {"too long for the receive", access::all, 0x12,
       [](WireEnd& l, WireEnd&) { return Wire::make_send(l.head(), l.at(0), 500); }, true},
  };
  for (const Case& c : cases) {
    DYNAMIC_SECTION(c.name) {
      WireOptions right;
      right.access = c.responder_access;
      WirePair pair({}, right);
      if (c.receives) pair.right->post_receive({mlx5::make_data(pair.right->at(0), 400)});
      pair.left->write(
          Wire::make_write(pair.left->head(0), pair.left->at(0), pair.right->remote(0), 0));
      pair.left->write(c.wqe(*pair.left, *pair.right));
      pair.left->write(
          Wire::make_write(pair.left->head(0), pair.left->at(0), pair.right->remote(0), 8));
      pair.left->ring();
      const auto failed = pair.sent();
      CHECK(failed.tail.wqe_counter == 1);
      CHECK(failed.syndrome() == c.syndrome);
      const auto flushed = pair.sent();
      CHECK(flushed.tail.wqe_counter == 2);
      CHECK(flushed.syndrome() == 0x05);
      if (c.receives) CHECK(pair.received().syndrome() == 0x01);
      CHECK(pair.hosts[0]->nic(0).state_of(pair.left->qpn) == sim::QueuePairState::error);
    }
  }
}

TEST_CASE("packets: a peer that is gone is retry exceeded, before or amid the work", "[wire]") {
  const bool amid = GENERATE(false, true);
  WirePair pair;
  if (amid) {
    pair.left->post(
        Wire::make_write(pair.left->head(), pair.left->at(0), pair.right->remote(0), 8));
    pair.sent();
  }
  pair.right.reset();
  const bool process_too = GENERATE(false, true);
  if (process_too) pair.hosts[1].reset();
  pair.left->write(Wire::make_send(pair.left->head(), pair.left->at(0), 300));
  pair.left->write(Wire::make_send(pair.left->head(), pair.left->at(0), 300));
  pair.left->ring();
  const auto failed = pair.sent();
  CHECK(failed.syndrome() == 0x15);
  CHECK(failed.tail.wqe_counter == (amid ? 1 : 0));
  CHECK(pair.sent().syndrome() == 0x05);
}

TEST_CASE("packets: a peer that comes late is found", "[wire]") {
  WireOptions options;
  options.timeout = 10;  // 4 ms
  options.retry_count = 7;
  WirePair pair(options);
  sim::VerbsQueuePairAttributes reset;
  pair.hosts[1]->nic(0).modify_queue_pair(pair.right->qpn, reset);
  pair.left->post(Wire::make_write(pair.left->head(), pair.left->at(0), pair.right->remote(0), 8));
  for (int i = 0; i < 100; ++i) pair.drive();
  pair.right->connect(pair.left->qpn);
  CHECK(pair.sent().syndrome() == 0);
}

TEST_CASE("packets: unreliable connections drop what nobody takes", "[wire]") {
  WireOptions options;
  options.transport = sim::Transport::uc;
  WirePair pair(options, options);
  fill(*pair.left, 6);
  pair.left->post(Wire::make_send(pair.left->head(), pair.left->at(0), 600));
  CHECK(pair.sent().syndrome() == 0);  // and lost
  pair.left->post(Wire::make_write_value(pair.left->head(), uint64_t{9}, pair.right->remote(8000)));
  auto* flag = reinterpret_cast<uint64_t*>(pair.right->memory.data() + 8000);
  REQUIRE(drive_until([&] { return std::atomic_ref(*flag).load() == 9; }, [&] { pair.drive(); }));
  CHECK(pair.sent().syndrome() == 0);
  pair.right->post_receive({mlx5::make_data(pair.right->at(0), 4000)});
  pair.left->post(Wire::make_send(pair.left->head(), pair.left->at(700), 1600));
  CHECK(pair.received().cqe.byte_cnt.value() == 1600);
  CHECK(same(*pair.left, 700, *pair.right, 0, 1600));
  CHECK(pair.sent().syndrome() == 0);
  pair.left->post(Wire::make_read(pair.left->head(), pair.left->at(0), pair.right->remote(0), 8));
  CHECK(pair.sent().syndrome() == 0x02);
}

TEST_CASE("packets: datagrams say who sent them and need the key", "[wire]") {
  WireOptions options;
  options.transport = sim::Transport::ud;
  WirePair pair(options, options);
  fill(*pair.left, 7);
  const auto datagram = [&](uint32_t qkey, uint32_t bytes) {
    Wire::Wqe wqe;
    mlx5::put_ctrl(wqe, pair.left->head(), mlx5::Opcode::send, 3);
    mlx5::AddressVector to{};
    to.qkey = Be32::of(qkey);
    to.dqp_dct = Be32::of(pair.right->qpn);
    to.rlid = Be16::of(1);
    std::memcpy(wqe.bytes + 16, &to, 16);
    wqe.put(2, mlx5::make_data(pair.left->at(0), bytes));
    return wqe;
  };
  pair.right->post_receive({mlx5::make_data(pair.right->at(0), 4000)});
  pair.left->post(datagram(0x12, 100));
  pair.left->post(datagram(0x11, 120));
  const auto received = pair.received();
  CHECK(received.cqe.byte_cnt.value() == 160);
  CHECK((received.cqe.flags_rqpn.value() & 0xffffff) == pair.left->qpn);
  CHECK(received.cqe.slid.value() == 1);
  CHECK(same(*pair.left, 0, *pair.right, 40, 120));
  CHECK(pair.sent().syndrome() == 0);
  CHECK(pair.sent().syndrome() == 0);
  pair.left->post(datagram(0x11, 4097));
  CHECK(pair.sent().syndrome() == 0x01);
}

TEST_CASE("packets: a doorbell that never comes is reported", "[wire]") {
  WirePair pair({}, {}, false);
  pair.left->post(Wire::make_write(pair.left->head(), pair.left->at(0), pair.right->remote(0), 8));
  pair.sent();
  pair.left->write(Wire::make_write(pair.left->head(), pair.left->at(0), pair.right->remote(0), 8));
  pair.left->announce();
  const sim::Nic& nic = pair.hosts[0]->nic(0);
  REQUIRE(drive_until([&] { return nic.violations().count() != 0; }, [&] { pair.drive(); }));
  CHECK(nic.violations().first()[0].kind == sim::ViolationKind::doorbell_missing);
  CHECK_FALSE(pair.left->poll_send().has_value());  // a record alone authorises nothing
  pair.left->ring();
  CHECK(pair.sent().tail.wqe_counter == 1);
}
