// SPDX-License-Identifier: Apache-2.0
// The exhaustive search against what is easy to get wrong in it.
#include <string>

#include <ringer/sim/explore/search.hpp>

#include "explore/plain_walk.hpp"
#include "explore/small_program.hpp"
#include "support/catch.hpp"

namespace ringer::test {
namespace {

using sim::ExploreResult;

// So many steps that hardly any random execution has somebody else wait for their end: what comes
// after them is found by the search or not at all.
void dawdle(const SimPlatform& p, Memory& m) {
  for (int i = 0; i < 30; ++i) m.seen[1][0] = p.load<Scope::sys, kRelaxed>(&m.words[2]);
}

void await_value(const SimPlatform& p, const uint64_t& word, uint64_t value) {
  p.wait_until<Scope::sys, kRelaxed>(
      &word, [=](uint64_t v) { return v == value; }, {}, "a value");
}

TEST_CASE("what a wait has missed is a deadlock, also if it was set aside before", "[explore]") {
  SmallProgram program({[](const SimPlatform& p, Memory& m) { await_value(p, m.words[0], 1); },
                        [](const SimPlatform& p, Memory& m) {
                          p.store<Scope::sys, kRelaxed>(&m.words[0], uint64_t{1});
                          dawdle(p, m);
                          p.store<Scope::sys, kRelaxed>(&m.words[0], uint64_t{2});
                        },
                        [](const SimPlatform& p, Memory& m) {
                          p.store<Scope::sys, kRelaxed>(&m.words[2], uint64_t{1});
                          p.store<Scope::sys, kRelaxed>(&m.words[2], uint64_t{2});
                        }});
  CHECK(explore_all(program.program()).failure == "deadlock: t0 waits for 'a value'");
}

TEST_CASE("a compare_exchange that hardly ever stores is waited for, too", "[explore]") {
  SmallProgram program({[](const SimPlatform& p, Memory& m) {
                          p.fetch_add<Scope::sys, kRelaxed>(&m.words[0], uint64_t{1});
                        },
                        [](const SimPlatform& p, Memory& m) {
                          for (int i = 0; i < 10; ++i)
                            m.seen[1][0] = p.load<Scope::sys, kRelaxed>(&m.words[2]);
                          p.compare_exchange<Scope::sys, kRelaxed>(&m.words[0], uint64_t{0},
                                                                   uint64_t{10});
                        }});
  REQUIRE(explore_all(program.program()).complete);
  CHECK(program.outcomes.size() == 2);  // 1, and 11
}

// Answers the other one for ever.
void play(const SimPlatform& p, Memory& m, uint64_t mine) {
  for (;;) {
    await_value(p, m.words[0], mine);
    p.store<Scope::sys, kRelaxed>(&m.words[0], 1 - mine);
  }
}

TEST_CASE("actors that keep each other busy for ever are a livelock", "[explore]") {
  if (!sim::Fiber::savable()) return;
  SmallProgram program({[](const SimPlatform& p, Memory& m) {
                          if (p.fetch_add<Scope::sys, kRelaxed>(&m.words[1], uint64_t{1}) != 0)
                            play(p, m, 0);
                        },
                        [](const SimPlatform& p, Memory& m) {
                          dawdle(p, m);
                          if (p.fetch_add<Scope::sys, kRelaxed>(&m.words[1], uint64_t{2}) == 0)
                            play(p, m, 1);
                        }});
  CHECK(explore_all(program.program()).failure.find("livelock: ") == 0);
}

// Two who know of a word and say so to their block only, with the same store; two readers, one in
// the block of each. Who has stored last decides who learns of the word.
TEST_CASE("stores of one value are told apart by who has made them", "[explore]") {
  if (!sim::Fiber::savable()) return;
  const bool by_fence = GENERATE(false, true);
  enum { flag, word, known };
  const Body first = [=](const SimPlatform& p, Memory& m) {
    p.store<Scope::sys, kRelaxed>(&m.words[word], uint64_t{1});
    p.store<Scope::sys, Order::release>(&m.words[known], uint64_t{1});
  };
  const Body tells = [=](const SimPlatform& p, Memory& m) {
    p.wait_until<Scope::sys, Order::acquire>(
        &m.words[known], [](uint64_t v) { return v == 1; }, {}, "known");
    if (by_fence) {
      p.fence<Scope::cta, Order::release>();
      p.store<Scope::sys, kRelaxed>(&m.words[flag], uint64_t{5});
    } else {
      p.store<Scope::gpu, Order::release>(&m.words[flag], uint64_t{5});
    }
  };
  const auto listens = [=](uint32_t self, bool exchanges) {
    return [=](const SimPlatform& p, Memory& m) {
      m.seen[self][0] = by_fence ? p.load<Scope::sys, Order::acquire>(&m.words[flag])
                                 : p.load<Scope::cta, Order::acquire>(&m.words[flag]);
      m.seen[self][1] = p.load<Scope::sys, kRelaxed>(&m.words[word]);
      if (exchanges) {
        m.seen[self][2] = p.exchange<Scope::sys, kRelaxed>(&m.words[flag], uint64_t{7});
      }
    };
  };
  SmallProgram program;
  program.program().scopes_required = by_fence;
  program.add({1, 2}, first);
  program.add({0, 0}, tells);
  program.add({0, 1}, tells);
  program.add({0, 0}, listens(3, true));
  program.add({0, 1}, listens(4, false));
  REQUIRE(explore_all(program.program()).complete);
  const size_t outcomes = program.outcomes.size();
  const PlainWalk walk(program.program(), 10'000'000);
  REQUIRE_FALSE(walk.gave_up());
  CHECK(program.outcomes.size() == outcomes);
}

// What a wait's predicate has written when it was only asked is no part of a state.
TEST_CASE("looks that are only tried tell no states apart", "[explore]") {
  if (!sim::Fiber::savable()) return;
  SmallProgram program({[](const SimPlatform& p, Memory& m) {
                          uint64_t noted = 7;
                          p.wait_until<Scope::sys, kRelaxed>(
                              &m.words[0],
                              [&](uint64_t v) {
                                noted = v;
                                return v != 0;
                              },
                              {}, "any");
                          m.seen[0][0] = noted;
                        },
                        [](const SimPlatform& p, Memory& m) {
                          m.seen[1][0] = p.load<Scope::sys, kRelaxed>(&m.words[1]);
                          p.store<Scope::sys, kRelaxed>(&m.words[0], uint64_t{1});
                        }});
  sim::Execution execution(program.program());
  execution.will_identify();
  execution.restart();
  (void)execution.moves();
  execution.assume();
  const auto digest_at_start = [&](bool looks) {
    execution.restart();
    if (looks) (void)execution.moves();
    sim::Execution::Identity identity;
    execution.identify(identity);
    return identity.digest();
  };
  CHECK(digest_at_start(false) == digest_at_start(false));
  CHECK(digest_at_start(true) == digest_at_start(false));
}

TEST_CASE("a wait's outcomes are those of now, also for who has asked before", "[explore]") {
  SmallProgram program({[](const SimPlatform& p, Memory& m) {
                          uint64_t noted = 0;
                          p.wait_until<Scope::sys, kRelaxed>(
                              &m.words[0],
                              [&](uint64_t v) {
                                noted = v;
                                return v != 1;
                              },
                              {}, "all but one");
                          m.seen[0][0] = noted;
                        },
                        [](const SimPlatform& p, Memory& m) {
                          for (uint64_t v = 1; v <= 2; ++v) {
                            (void)p.load<Scope::sys, kRelaxed>(&m.words[1]);
                            p.store<Scope::sys, kRelaxed>(&m.words[0], v);
                          }
                        }});
  const auto* seen = reinterpret_cast<const Memory*>(program.program().memory)->seen[0];
  sim::Execution execution(program.program());
  execution.restart();
  execution.take({1, 0});
  CHECK(execution.moves().size() == 3);
  execution.take({1, 0});
  execution.take({0, 0});
  CHECK(seen[0] == 2);
}

TEST_CASE("a wait finds any of many stores, by one load or by several", "[explore]") {
  constexpr uint64_t kStores = 9;
  const auto several = GENERATE(false, true);
  const auto stateless = GENERATE(false, true);
  SmallProgram program({[=](const SimPlatform& p, Memory& m) {
                          uint64_t first = 0;
                          uint64_t second = 0;
                          p.wait_until<Scope::sys, kRelaxed>(
                              &m.words[0],
                              [&](uint64_t v) {
                                first = v;
                                second = several ? p.load<Scope::sys, kRelaxed>(&m.words[0]) : 0;
                                return first != 0;
                              },
                              {}, "any");
                          m.seen[0][0] = first;
                          m.seen[0][1] = second;
                        },
                        [](const SimPlatform& p, Memory& m) {
                          for (uint64_t v = 1; v <= kStores; ++v)
                            p.store<Scope::sys, kRelaxed>(&m.words[0], v);
                        }});
  const ExploreResult all =
      stateless ? explore_stateless(program.program()) : explore_all(program.program());
  REQUIRE(all.complete);
  const size_t outcomes = several ? kStores * (kStores + 1) / 2 : kStores;
  CHECK(program.outcomes.size() == outcomes);
  CHECK(all.executions - all.blocked == outcomes);
}

TEST_CASE("a predicate that changes its mind is found out", "[explore]") {
  SmallProgram program({[](const SimPlatform& p, Memory& m) {
                          uint64_t asked = 0;
                          p.wait_until<Scope::sys, kRelaxed>(
                              &m.words[0], [&](uint64_t v) { return v != 0 && ++asked == 1; }, {},
                              "the first time");
                        },
                        [](const SimPlatform& p, Memory& m) {
                          p.store<Scope::sys, kRelaxed>(&m.words[0], uint64_t{1});
                        }});
  CHECK(explore_all(program.program()).failure.find("a wait's predicate says something else") == 0);
}

TEST_CASE("a predicate that does more than load is refused", "[explore]") {
  SmallProgram program({[](const SimPlatform& p, Memory& m) {
    p.wait_until<Scope::sys, kRelaxed>(
        &m.words[0],
        [&](uint64_t) {
          p.fence<Scope::sys, Order::acquire>();
          return true;
        },
        {}, "a fence");
  }});
  CHECK_THROWS_AS(explore_random(program.program(), 1, 1), std::logic_error);
}

TEST_CASE("a state holds after what has followed it has failed", "[explore]") {
  if (!sim::Fiber::savable()) return;
  SmallProgram program({[](const SimPlatform& p, Memory& m) {
    (void)p.load<Scope::sys, kRelaxed>(&m.words[1]);
    for (uint64_t v = 1; v <= 40'000; ++v) p.store<Scope::sys, kRelaxed>(&m.words[0], v);
  }});
  sim::Execution execution(program.program());
  execution.restart();
  sim::Execution::State state;
  execution.save(state);
  for (int i = 0; i < 2; ++i) {
    execution.restore(state);
    execution.take({0, 0});
    CHECK(execution.verdict().find("livelock: ") == 0);
  }
}

TEST_CASE("a wait that looks too often is refused", "[explore]") {
  SmallProgram program({[](const SimPlatform& p, Memory& m) {
    p.wait_until<Scope::sys, kRelaxed>(
        &m.words[0],
        [&](uint64_t) {
          for (int i = 0; i < 20; ++i) (void)p.load<Scope::sys, kRelaxed>(&m.words[1]);
          return true;
        },
        {}, "too much");
  }});
  sim::Execution execution(program.program());
  for (int i = 0; i < 2; ++i) {
    execution.restart();
    CHECK_THROWS_AS(execution.moves(), std::length_error);
  }
}

// What it could still read may be forgotten before it reads.
TEST_CASE("who is about to access what nobody expects is known before it does", "[explore]") {
  for (const uint32_t kind : {0, 1, 2, 3}) {
    SmallProgram program({[](const SimPlatform& p, Memory& m) {
                            p.store<Scope::sys, kRelaxed>(&m.words[1], uint64_t{1});
                            p.store<Scope::sys, kRelaxed>(&m.words[0], uint64_t{1});
                          },
                          [=](const SimPlatform& p, Memory& m) {
                            if (p.load<Scope::sys, kRelaxed>(&m.words[0]) != 1) return;
                            if (kind == 0) (void)p.load<Scope::sys, kRelaxed>(&m.words[1]);
                            if (kind == 1) p.store<Scope::sys, kRelaxed>(&m.words[1], uint64_t{2});
                            if (kind == 2)
                              p.fetch_add<Scope::sys, kRelaxed>(&m.words[1], uint64_t{2});
                            if (kind == 3) await_value(p, m.words[1], 1);
                          }});
    sim::Execution execution(program.program());
    execution.restart();
    execution.take({1, 1});
    execution.assume();
    execution.restart();
    CHECK(execution.as_assumed());
    execution.take({1, 0});
    if (kind == 3) (void)execution.read_moves();
    CHECK_FALSE(execution.as_assumed());
  }
}

TEST_CASE("a livelock that stores more often than a word can tell is one", "[explore]") {
  SmallProgram program({[](const SimPlatform& p, Memory& m) { play(p, m, 0); },
                        [](const SimPlatform& p, Memory& m) { play(p, m, 1); }});
  program.program().max_steps = 40'000;
  CHECK(explore_random(program.program(), 1, 1).failure.find("livelock: ") == 0);
}

TEST_CASE("words that overlap, and programs without known memory, are refused", "[explore]") {
  SmallProgram overlap({[](const SimPlatform& p, Memory& m) {
    p.store<Scope::sys, kRelaxed>(&m.words[0], uint64_t{1});
    (void)p.load<Scope::sys, kRelaxed>(reinterpret_cast<const uint32_t*>(&m.words[0]) + 1);
  }});
  CHECK_THROWS_AS(explore_random(overlap.program(), 1, 1), std::invalid_argument);
  SmallProgram unknown({[](const SimPlatform&, Memory&) {}});
  unknown.program().memory = nullptr;
  CHECK_THROWS_AS(explore_all(unknown.program()), std::invalid_argument);
}

TEST_CASE("actors that are alike may begin in the order of their numbers", "[explore]") {
  const Body body = [](const SimPlatform& p, Memory& m) {
    const auto ticket = p.fetch_add<Scope::sys, kRelaxed>(&m.words[0], uint64_t{1});
    m.seen[ticket][0] = p.load<Scope::sys, kRelaxed>(&m.words[1]);
    p.store<Scope::sys, kRelaxed>(&m.words[1], ticket + 1);
    m.seen[ticket][1] = p.fetch_add<Scope::sys, Order::acq_rel>(&m.words[2], uint64_t{1});
    m.seen[ticket][2] = p.load<Scope::sys, kRelaxed>(&m.words[1]);
  };
  SmallProgram whole({body, body, body});
  const ExploreResult all = explore_all(whole.program());
  REQUIRE(all.complete);
  SmallProgram ordered({body, body, body});
  ordered.program().alike = 3;
  const ExploreResult some = explore_all(ordered.program());
  REQUIRE(some.complete);
  CHECK(ordered.outcomes == whole.outcomes);
  CHECK(3 * some.executions < all.executions);
  CHECK(explore_random(ordered.program(), 1, 300).complete);
  CHECK(ordered.outcomes == whole.outcomes);
}

TEST_CASE("who is said to be alike begins by the same read-modify-write", "[explore]") {
  const Body adds = [](const SimPlatform& p, Memory& m) {
    p.fetch_add<Scope::sys, kRelaxed>(&m.words[0], uint64_t{1});
  };
  const Body loads = [](const SimPlatform& p, Memory& m) {
    m.seen[0][0] = p.load<Scope::sys, kRelaxed>(&m.words[0]);
  };
  const Body elsewhere = [](const SimPlatform& p, Memory& m) {
    p.fetch_add<Scope::sys, kRelaxed>(&m.words[1], uint64_t{1});
  };
  for (const Body& other : {loads, elsewhere}) {
    SmallProgram program({adds, other});
    program.program().alike = 2;
    CHECK_THROWS_AS(explore_all(program.program()), std::logic_error);
  }
}

}  // namespace
}  // namespace ringer::test
