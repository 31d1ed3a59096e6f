// SPDX-License-Identifier: Apache-2.0
#include <stdexcept>

#include <ringer/ep/config.hpp>
#include <ringer/ep/paths.hpp>

#include "support/catch.hpp"

using namespace ringer;
using namespace ringer::ep;
using ringer::test::contains;

namespace {

std::string reason_of(const Config& config) {
  try {
    validate(config);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("a shape that cannot be is refused with the value and the rule", "[ep]") {
  Config c;
  c.ranks = 2;
  REQUIRE(reason_of(c).empty());
  SECTION("hidden") {
    c.hidden = 7100;
    REQUIRE_THAT(reason_of(c), contains("7100") && contains("multiple of 128"));
  }
  SECTION("topk beyond the experts") {
    c.topk = 17;
    REQUIRE_THAT(reason_of(c), contains("17") && contains("16 experts"));
  }
  SECTION("ring") {
    c.ring_wqebbs = 100;
    REQUIRE_THAT(reason_of(c), contains("100") && contains("power of two"));
  }
  SECTION("an epoch whose tag wraps before both buffers were used") {
    c.start_epoch = 0x1fffffffe;
    REQUIRE_THAT(reason_of(c), contains("start epoch"));
  }
  SECTION("zeros") {
    const auto field = GENERATE(&Config::ranks, &Config::max_tokens, &Config::hidden, &Config::topk,
                                &Config::experts_per_rank, &Config::fifo_count);
    c.*field = 0;
    REQUIRE_FALSE(reason_of(c).empty());
  }
}

TEST_CASE("regions of a window neither overlap nor leave it", "[ep]") {
  Config c;
  c.ranks = GENERATE(1u, 3u, 16u);
  c.experts_per_rank = GENERATE(2u, 18u);
  c.max_tokens = GENERATE(1u, 37u);
  c.topk = 2;
  c.hidden = 128;
  c.dtype = GENERATE(Dtype::bf16, Dtype::fp8, Dtype::fp8_ue8m0);
  const Layout l = make_layout(c);
  for (uint64_t parity = 0; parity < 2; ++parity) {
    const uint64_t base = parity * l.parity_bytes;
    const uint64_t last_rank = c.ranks - 1;
    const uint64_t last_local = c.experts_per_rank - 1;
    REQUIRE(l.dispatch_flag(parity, 0, 0) == base);
    REQUIRE(l.dispatch_flag(parity, last_local, last_rank) + 8 <= l.combine_flag(parity, 0));
    REQUIRE(l.combine_flag(parity, c.experts() - 1) + 8 <= l.dispatch_stage(parity, 0));
    REQUIRE(l.dispatch_stage(parity, c.max_tokens) <= l.dispatch_slot(parity, 0, 0, 0));
    REQUIRE(l.dispatch_slot(parity, last_local, last_rank, c.max_tokens) <=
            l.combine_stage(parity, 0, 0));
    REQUIRE(l.combine_stage(parity, last_local, l.rows_per_expert()) <=
            l.combine_slot(parity, 0, 0));
    REQUIRE(l.combine_slot(parity, c.max_tokens - 1, c.topk) <= base + l.parity_bytes);
  }
  REQUIRE(l.atomic_result_at + 8 <= l.window_bytes);
  REQUIRE(l.message_bytes % 16 == 0);
  REQUIRE(l.payload_offset + l.payload_bytes + l.scale_bytes <= l.message_bytes);
}

TEST_CASE("paths follow topology and ability, never the number of ranks", "[ep]") {
  const auto facts = [](uint64_t node, uint64_t space, PathRequest request, uint32_t posting) {
    return RankFacts{node, space, request, posting, 0, 0, 0};
  };
  using R = PathRequest;
  SECTION("automatic") {
    const std::vector<RankFacts> ranks{facts(0, 1, R::automatic, 1), facts(0, 1, R::automatic, 1),
                                       facts(1, 2, R::automatic, 1), facts(1, 3, R::automatic, 1),
                                       facts(2, 4, R::automatic, 0)};
    REQUIRE(choose_path(ranks, 0, 0).path == Path::ipc);
    REQUIRE(choose_path(ranks, 0, 1).path == Path::ipc);
    REQUIRE(choose_path(ranks, 0, 2).path == Path::ibgda);
    REQUIRE(choose_path(ranks, 2, 3).path == Path::ibgda);  // one node, but no common addresses
    REQUIRE(choose_path(ranks, 0, 4).path == Path::fifo);
    REQUIRE(choose_path(ranks, 4, 0).path == Path::fifo);
  }
  SECTION("asked for") {
    const std::vector<RankFacts> ranks{facts(0, 1, R::ibgda, 1), facts(0, 1, R::ibgda, 1),
                                       facts(0, 1, R::ibgda, 0)};
    REQUIRE(choose_path(ranks, 0, 1).path == Path::ibgda);
    REQUIRE_THROWS_AS(choose_path(ranks, 1, 2), std::invalid_argument);
  }
  SECTION("different wishes") {
    const std::vector<RankFacts> ranks{facts(0, 1, R::ibgda, 1), facts(0, 1, R::fifo, 1)};
    REQUIRE_THROWS_AS(choose_path(ranks, 0, 1), std::invalid_argument);
  }
}

TEST_CASE("ranks in different processes have a path if one reaches the other", "[ep]") {
  using R = PathRequest;
  constexpr uint64_t kDomain = 77;
  struct Case {
    uint64_t node;  // of the second rank; the first is on node 0
    uint64_t domain;
    uint32_t own_process_only;
    R request;
    std::string expected;  // path and reason, or the refusal
  };
  const std::string kOneProcess =
      "they are in different processes, and the software NIC serves one process";
  const Case c = GENERATE_COPY(
      Case{0, kDomain, 1, R::automatic, "ipc: same node, windows opened by the other process"},
      Case{0, kDomain, 0, R::automatic, "ipc: same node, windows opened by the other process"},
      Case{0, kDomain, 1, R::ipc, "ipc: asked for"},
      Case{0, kDomain, 1, R::ibgda, "path ibgda: ranks 0 and 1 cannot connect: " + kOneProcess},
      Case{0, kDomain, 1, R::fifo, "path fifo: ranks 0 and 1 cannot connect: " + kOneProcess},
      Case{0, kDomain, 0, R::ibgda, "ibgda: asked for"},
      Case{0, kDomain, 0, R::fifo, "fifo: asked for"},
      // Another host, another kind of memory, or memory that nobody else can open.
      Case{0, 78, 1, R::automatic,
           "ranks 0 and 1 have no path: they share no memory (different processes that cannot open "
           "each other's windows); " +
               kOneProcess},
      Case{0, 78, 1, R::ipc,
           "path ipc: ranks 0 and 1 share no memory (different processes that cannot open each "
           "other's windows)"},
      Case{0, 78, 0, R::automatic,
           "ibgda: no common memory, both NICs take doorbells from kernels"},
      Case{1, kDomain, 1, R::automatic,
           "ranks 0 and 1 have no path: they share no memory (different nodes); " + kOneProcess},
      Case{1, kDomain, 1, R::ipc, "path ipc: ranks 0 and 1 share no memory (different nodes)"});
  const std::vector<RankFacts> ranks{{0, 1, c.request, 1, kDomain, c.own_process_only, 0},
                                     {c.node, 2, c.request, 1, c.domain, c.own_process_only, 0}};
  std::string found;
  try {
    const PathChoice choice = choose_path(ranks, 0, 1);
    found = std::string(to_string(choice.path)) + ": " + choice.reason;
    CHECK(choose_path(ranks, 1, 0).path == choice.path);
  } catch (const std::invalid_argument& refusal) {
    found = refusal.what();
  }
  CHECK(found == c.expected);
}

TEST_CASE("memory without a domain is mapped in its own process only", "[ep]") {
  std::vector<RankFacts> ranks{{0, 1, PathRequest::ipc, 1, 0, 1, 0},
                               {0, 2, PathRequest::ipc, 1, 0, 1, 0}};
  CHECK_THROWS_AS(choose_path(ranks, 0, 1), std::invalid_argument);
  ranks[1].address_space = 1;
  CHECK(choose_path(ranks, 0, 1).path == Path::ipc);
}

TEST_CASE("the table of paths shows every pair and counts the reasons", "[ep]") {
  const std::vector<RankFacts> ranks{{0, 1, PathRequest::automatic, 1, 0, 0, 0},
                                     {0, 1, PathRequest::automatic, 1, 0, 0, 0},
                                     {1, 1, PathRequest::automatic, 1, 0, 0, 0}};
  const std::string table = format_paths(choose_paths(ranks, nullptr), 3);
  REQUIRE_THAT(table, contains("0      self   ipc    ibgda") && contains("2 x ipc: same node") &&
                          contains("4 x ibgda: different nodes"));
}
