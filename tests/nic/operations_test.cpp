// SPDX-License-Identifier: Apache-2.0
// Each operation in each class of sizes, signaled and not, on the NICs under test: what arrives,
// and what does not change.
#include <cstring>

#include "nic_fixture.hpp"

using namespace ringer;
using namespace ringer::test;

namespace {

constexpr PostFlags kSignaled{true, true};
constexpr PostFlags kSilent{false, false};

void fill(uint8_t* bytes, size_t count, uint32_t seed) {
  for (size_t i = 0; i < count; ++i) {
    seed = seed * 1664525u + 1013904223u;
    bytes[i] = static_cast<uint8_t>(seed >> 24);
  }
}

std::string if_equal(std::string outcome, const uint8_t* a, const uint8_t* b, size_t bytes) {
  return outcome == "ok" && std::memcmp(a, b, bytes) != 0 ? "ok, but other bytes" : outcome;
}

std::string size_text(size_t bytes) {
  return bytes == 1 ? "1 byte" : std::to_string(bytes) + " bytes";
}

constexpr size_t kSizes[] = {0, 1, 3, 4, 8, 63, 64, 1024, 4096, 4097, 65539, (1u << 20) + 5};

// `post` moves so many bytes from the beginning of `from` to byte 16 of `to`; what is around stays.
template <class Post>
void judge_sizes(const NicPair& nics, Link& link, const char* group, uint8_t* from, uint8_t* to,
                 Post&& post) {
  for (const size_t bytes : kSizes) {
    fill(from, bytes + 8, static_cast<uint32_t>(bytes) + 1);
    std::memset(to, 0xee, bytes + 64);
    const std::string outcome = if_equal(link.outcome(post(bytes)), from, to + 16, bytes);
    CHECK(to[15] == 0xee);
    CHECK(to[16 + bytes] == 0xee);
    expect_outcome(nics, group, size_text(bytes), outcome, "ok");
  }
}

}  // namespace

TEST_CASE("nic: RDMA WRITE of every class of sizes", "[nic]") {
  NicPair nics;
  Link link(nics);
  judge_sizes(nics, link, "RDMA WRITE", link.near_bytes(), link.far_bytes(), [&](size_t bytes) {
    return link.sender().put(link.local(), link.remote(16), bytes, kSignaled, link.soon());
  });
}

TEST_CASE("nic: inline RDMA WRITE of every length", "[nic]") {
  NicPair nics;
  Link link(nics);
  for (uint32_t bytes = 1; bytes <= mlx5::kMaxInlineBytes; ++bytes) {
    uint8_t data[mlx5::kMaxInlineBytes];
    fill(data, bytes, bytes);
    std::memset(link.far_bytes(), 0xee, 64);
    const Posted posted =
        link.sender().put_inline_bytes(data, bytes, link.remote(7), kSignaled, link.soon());
    std::memset(data, 0x11, sizeof(data));  // the WQE has its own copy
    std::string outcome = link.outcome(posted);
    uint8_t expected[mlx5::kMaxInlineBytes];
    fill(expected, bytes, bytes);
    outcome = if_equal(outcome, expected, link.far_bytes() + 7, bytes);
    CHECK(link.far_bytes()[6] == 0xee);
    CHECK(link.far_bytes()[7 + bytes] == 0xee);
    expect_outcome(nics, "RDMA WRITE, inline", size_text(bytes), outcome, "ok");
  }
}

TEST_CASE("nic: RDMA READ of every class of sizes", "[nic]") {
  NicPair nics;
  Link link(nics);
  judge_sizes(nics, link, "RDMA READ", link.far_bytes(), link.near_bytes(), [&](size_t bytes) {
    return link.sender().get(link.local(16), link.remote(), bytes, kSignaled, link.soon());
  });
}

TEST_CASE("nic: atomics return what was there before", "[nic]") {
  NicPair nics;
  Link link(nics);
  const auto word = [](uint8_t* at) {
    uint64_t value;
    std::memcpy(&value, at, sizeof(value));
    return value;
  };
  const auto judge = [&](std::string outcome, uint64_t before, uint64_t after) {
    const bool right = word(link.near_bytes() + 64) == before && word(link.far_bytes()) == after;
    return outcome == "ok" && !right ? "ok, but other values" : outcome;
  };
  const auto set = [&](uint64_t value) { std::memcpy(link.far_bytes(), &value, sizeof(value)); };
  set(0xffffffff);
  expect_outcome(nics, "ATOMIC", "fetch and add, carry into the upper word",
                 judge(link.outcome(link.sender().fetch_add(uint64_t{2}, link.local(64),
                                                            link.remote(), kSignaled, link.soon())),
                       0xffffffff, 0x100000001),
                 "ok");
  set(5);
  expect_outcome(
      nics, "ATOMIC", "compare and swap, equal",
      judge(link.outcome(link.sender().compare_swap(uint64_t{5}, uint64_t{9}, link.local(64),
                                                    link.remote(), kSignaled, link.soon())),
            5, 9),
      "ok");
  expect_outcome(
      nics, "ATOMIC", "compare and swap, different",
      judge(link.outcome(link.sender().compare_swap(uint64_t{5}, uint64_t{7}, link.local(64),
                                                    link.remote(), kSignaled, link.soon())),
            9, 9),
      "ok");
}

// An operation that a NIC does not have ends in an error, and nothing behind it is carried out.
TEST_CASE("nic: 4-byte atomics, with work before and behind", "[nic]") {
  NicPair nics;
  for (const CqMode mode : {CqMode::collapsed, CqMode::owner_bit}) {
    LinkSetup setup;
    setup.near.cq_mode = mode;
    Link link(nics, setup);
    std::memset(link.far_bytes(), 0, 64);
    link.near_bytes()[0] = 42;
    // Both by one doorbell.
    const PostFlags unrung{true, false};
    REQUIRE(link.sender().put(link.local(), link.remote(4096), 8, unrung, link.soon()).status.ok());
    const Posted add =
        link.sender().fetch_add(uint32_t{7}, link.local(64), link.remote(), kSignaled, link.soon());
    const Posted behind =
        link.sender().put(link.local(), link.remote(32), 1, kSignaled, link.soon());
    std::string outcome = link.outcome(behind.status.ok() ? behind : add);
    const bool has_it = outcome == "ok";
    CHECK(link.far_bytes()[0] == (has_it ? 7 : 0));
    CHECK(link.far_bytes()[32] == (has_it ? 42 : 0));
    constexpr const char* kNone = "both: no verb has it; a ConnectX has, by extended atomics";
    constexpr const char* kError = "local queue pair operation error";
    expect_outcome(nics, "ATOMIC", "fetch and add, 4 bytes", outcome, "ok",
                   {{"rxe", kError, kNone}, {"verbs", kError, kNone}});
  }
}

TEST_CASE("nic: SEND and WRITE with immediate take receive WQEs in order", "[nic]") {
  NicPair nics;
  LinkSetup setup;
  setup.far.rq_wqes = 16;
  Link link(nics, setup);
  const auto received = [&] {
    ReceiveCompletion completion{};
    const WaitLimit limit = link.soon();
    while (!link.far_qp().poll_receive(completion) && HostPlatform{}.now_ns() < limit.expires_ns) {
      std::this_thread::yield();
    }
    return completion;
  };
  const RemoteRef far = link.remote(4096);
  for (uint32_t round = 0; round < 40; ++round) {  // more than the ring has
    const uint32_t bytes = round % 5 * 33;
    const LocalRef into{far.address, link.far_key()};
    link.far_qp().post_receive(into, 256);
    fill(link.near_bytes(), 256, round);
    std::memset(link.far_bytes() + 4096, 0, 256);
    const bool send = round % 2 == 0;
    const Posted posted =
        send ? link.sender().send(link.local(), bytes, kSignaled, link.soon())
             : link.sender().put_with_imm(link.local(), far, bytes, 0x01020304 + round, kSignaled,
                                          link.soon());
    std::string outcome = link.outcome(posted);
    const ReceiveCompletion completion = received();
    outcome = if_equal(outcome, link.near_bytes(), link.far_bytes() + 4096, bytes);
    CHECK(completion.status.ok());
    CHECK(completion.index == round);
    if (send) CHECK(completion.bytes == bytes);
    if (!send) CHECK(completion.imm == 0x01020304 + round);
    if (round < 10) {
      expect_outcome(nics, send ? "SEND" : "RDMA WRITE with immediate", size_text(bytes), outcome,
                     "ok");
    } else {
      CHECK(outcome == "ok");
    }
  }
}

TEST_CASE("nic: an unsignaled batch is complete with the signaled one behind it", "[nic]") {
  NicPair nics;
  for (const CqMode mode : {CqMode::collapsed, CqMode::owner_bit}) {
    LinkSetup setup;
    setup.near.cq_mode = mode;
    Link link(nics, setup);
    std::string outcome;
    for (uint64_t round = 0; round < 200; ++round) {
      Posted posted;
      for (uint64_t i = 0; i < 20; ++i) {
        const bool last = i == 19;
        posted = link.sender().put_inline(round * 100 + i, link.remote(i * 8),
                                          last ? kSignaled : kSilent, link.soon());
        REQUIRE(posted.status.ok());
      }
      outcome = link.outcome(posted);
      if (outcome != "ok") break;
      for (uint64_t i = 0; i < 20; ++i) {
        uint64_t value;
        std::memcpy(&value, link.far_bytes() + i * 8, sizeof(value));
        if (value != round * 100 + i) outcome = "ok, but not all had been carried out";
      }
    }
    expect_outcome(nics, "Batches",
                   std::string("200 of 20, one CQE each, ") +
                       (mode == CqMode::collapsed ? "collapsed" : "owner bit"),
                   outcome, "ok");
  }
}
