// SPDX-License-Identifier: Apache-2.0
// The explorer's memory against the litmus tests that everybody knows: each program must give
// exactly the outcomes that PTX allows, in every scope, but for load buffering.
#include <set>

#include <ringer/sim/explore/search.hpp>
#include <ringer/sim/explore/sim_platform.hpp>

#include "support/catch.hpp"

namespace ringer::test {
namespace {

using sim::ActorSpec;
using sim::Place;
using sim::SimPlatform;

constexpr Order kRelaxed = Order::relaxed, kAcquire = Order::acquire, kRelease = Order::release;

/// x, y and what four loads have returned.
struct Words {
  uint64_t x = 0, y = 0;
  uint64_t r[4] = {9, 9, 9, 9};
};

using Thread = std::function<void(SimPlatform, Words&)>;

/// A program over `memory`, which `reset` puts in its first state.
template <class T>
sim::Program program_on(T& memory, std::vector<ActorSpec> actors) {
  sim::Program program;
  program.actors = std::move(actors);
  program.memory = reinterpret_cast<std::byte*>(&memory);
  program.memory_bytes = sizeof(memory);
  program.reset = [&memory] { memory = {}; };
  program.check = [] { return std::string(); };
  return program;
}

/// All outcomes of the threads, thread i at places[i]; `observed` picks what an outcome is.
std::set<std::string> outcomes(const std::vector<Place>& places, const std::vector<Thread>& threads,
                               const std::function<std::string(const Words&)>& observed) {
  std::set<std::string> all;
  Words words;
  std::vector<ActorSpec> actors;
  for (size_t i = 0; i < threads.size(); ++i) {
    actors.push_back(
        {"t" + std::to_string(i), places[i], [&, i](SimPlatform p) { threads[i](p, words); }});
  }
  sim::Program program = program_on(words, std::move(actors));
  program.check = [&] {
    all.insert(observed(words));
    return std::string();
  };
  const sim::ExploreResult result = explore_all(program);
  REQUIRE(result.complete);
  // No execution shows anything else.
  const size_t found = all.size();
  REQUIRE(explore_random(program, 1, 500).complete);
  REQUIRE(all.size() == found);
  return all;
}

std::string first_two(const Words& w) { return std::to_string(w.r[0]) + std::to_string(w.r[1]); }
std::string finals(const Words& w) { return std::to_string(w.x) + std::to_string(w.y); }

/// The places of two actors that only `scope`, or a wider one, has both in.
std::vector<Place> apart(Scope scope) {
  if (scope == Scope::cta) return {{0, 0}, {0, 0}};
  if (scope == Scope::gpu) return {{0, 0}, {0, 1}};
  return {{0, 0}, {1, 2}};
}

using Set = std::set<std::string>;

template <Scope kScope, Order kStore, Order kLoad>
Set message_passing(Scope distance) {
  return outcomes(apart(distance),
                  {[](SimPlatform p, Words& w) {
                     p.store<kScope, kRelaxed>(&w.x, uint64_t{1});
                     p.store<kScope, kStore>(&w.y, uint64_t{1});
                   },
                   [](SimPlatform p, Words& w) {
                     w.r[0] = p.load<kScope, kLoad>(&w.y);
                     w.r[1] = p.load<kScope, kRelaxed>(&w.x);
                   }},
                  first_two);
}

const Set kAnything{"00", "01", "10", "11"};
const Set kInOrder{"00", "01", "11"};

TEST_CASE("message passing needs a release and an acquire", "[litmus]") {
  CHECK(message_passing<Scope::sys, kRelease, kAcquire>(Scope::sys) == kInOrder);
  CHECK(message_passing<Scope::sys, kRelaxed, kAcquire>(Scope::sys) == kAnything);
  CHECK(message_passing<Scope::sys, kRelease, kRelaxed>(Scope::sys) == kAnything);
  CHECK(message_passing<Scope::sys, kRelaxed, kRelaxed>(Scope::sys) == kAnything);
}

TEST_CASE("message passing holds as far as the scope of both reaches", "[litmus]") {
  CHECK(message_passing<Scope::cta, kRelease, kAcquire>(Scope::cta) == kInOrder);
  CHECK(message_passing<Scope::cta, kRelease, kAcquire>(Scope::gpu) == kAnything);
  CHECK(message_passing<Scope::cta, kRelease, kAcquire>(Scope::sys) == kAnything);
  CHECK(message_passing<Scope::gpu, kRelease, kAcquire>(Scope::cta) == kInOrder);
  CHECK(message_passing<Scope::gpu, kRelease, kAcquire>(Scope::gpu) == kInOrder);
  CHECK(message_passing<Scope::gpu, kRelease, kAcquire>(Scope::sys) == kAnything);
  CHECK(message_passing<Scope::sys, kRelease, kAcquire>(Scope::cta) == kInOrder);
}

template <Scope kFence>
Set message_passing_by_fences(Scope distance) {
  return outcomes(apart(distance),
                  {[](SimPlatform p, Words& w) {
                     p.store<Scope::sys, kRelaxed>(&w.x, uint64_t{1});
                     p.fence<kFence, kRelease>();
                     p.store<Scope::sys, kRelaxed>(&w.y, uint64_t{1});
                   },
                   [](SimPlatform p, Words& w) {
                     w.r[0] = p.load<Scope::sys, kRelaxed>(&w.y);
                     p.fence<kFence, kAcquire>();
                     w.r[1] = p.load<Scope::sys, kRelaxed>(&w.x);
                   }},
                  first_two);
}

TEST_CASE("fences pass messages as far as their scope reaches", "[litmus]") {
  CHECK(message_passing_by_fences<Scope::cta>(Scope::cta) == kInOrder);
  CHECK(message_passing_by_fences<Scope::cta>(Scope::gpu) == kAnything);
  CHECK(message_passing_by_fences<Scope::gpu>(Scope::gpu) == kInOrder);
  CHECK(message_passing_by_fences<Scope::gpu>(Scope::sys) == kAnything);
  CHECK(message_passing_by_fences<Scope::sys>(Scope::sys) == kInOrder);
}

TEST_CASE("store buffering shows both old values, whatever is released", "[litmus]") {
  const auto threads = std::vector<Thread>{[](SimPlatform p, Words& w) {
                                             p.store<Scope::sys, kRelease>(&w.x, uint64_t{1});
                                             w.r[0] = p.load<Scope::sys, kAcquire>(&w.y);
                                           },
                                           [](SimPlatform p, Words& w) {
                                             p.store<Scope::sys, kRelease>(&w.y, uint64_t{1});
                                             w.r[1] = p.load<Scope::sys, kAcquire>(&w.x);
                                           }};
  CHECK(outcomes(apart(Scope::sys), threads, first_two) == kAnything);
}

TEST_CASE("load buffering is not modelled: no load returns what is still to come", "[litmus]") {
  const auto threads = std::vector<Thread>{[](SimPlatform p, Words& w) {
                                             w.r[0] = p.load<Scope::sys, kRelaxed>(&w.x);
                                             p.store<Scope::sys, kRelaxed>(&w.y, uint64_t{1});
                                           },
                                           [](SimPlatform p, Words& w) {
                                             w.r[1] = p.load<Scope::sys, kRelaxed>(&w.y);
                                             p.store<Scope::sys, kRelaxed>(&w.x, uint64_t{1});
                                           }};
  CHECK(outcomes(apart(Scope::sys), threads, first_two) == Set{"00", "01", "10"});
}

TEST_CASE("two loads of one word never see it go back", "[litmus]") {
  const auto threads = std::vector<Thread>{
      [](SimPlatform p, Words& w) { p.store<Scope::sys, kRelaxed>(&w.x, uint64_t{1}); },
      [](SimPlatform p, Words& w) {
        w.r[0] = p.load<Scope::sys, kRelaxed>(&w.x);
        w.r[1] = p.load<Scope::sys, kRelaxed>(&w.x);
      }};
  CHECK(outcomes(apart(Scope::sys), threads, first_two) == kInOrder);
}

template <Order kStore>
Set two_plus_two_writes() {
  return outcomes(apart(Scope::sys),
                  {[](SimPlatform p, Words& w) {
                     p.store<Scope::sys, kRelaxed>(&w.x, uint64_t{1});
                     p.store<Scope::sys, kStore>(&w.y, uint64_t{2});
                   },
                   [](SimPlatform p, Words& w) {
                     p.store<Scope::sys, kRelaxed>(&w.y, uint64_t{1});
                     p.store<Scope::sys, kStore>(&w.x, uint64_t{2});
                   }},
                  finals);
}

TEST_CASE("2+2W: both first stores may be the last, without fences of consistency", "[litmus]") {
  CHECK(two_plus_two_writes<kRelaxed>() == Set{"11", "12", "21", "22"});
  CHECK(two_plus_two_writes<kRelease>() == Set{"11", "12", "21", "22"});
}

template <Order kLoad>
Set independent_reads(const std::vector<Place>& places) {
  return outcomes(
      places,
      {[](SimPlatform p, Words& w) { p.store<Scope::sys, kRelease>(&w.x, uint64_t{1}); },
       [](SimPlatform p, Words& w) { p.store<Scope::sys, kRelease>(&w.y, uint64_t{1}); },
       [](SimPlatform p, Words& w) {
         w.r[0] = p.load<Scope::sys, kLoad>(&w.x);
         w.r[1] = p.load<Scope::sys, kRelaxed>(&w.y);
       },
       [](SimPlatform p, Words& w) {
         w.r[2] = p.load<Scope::sys, kLoad>(&w.y);
         w.r[3] = p.load<Scope::sys, kRelaxed>(&w.x);
       }},
      [](const Words& w) {
        return std::to_string(w.r[0]) + std::to_string(w.r[1]) + std::to_string(w.r[2]) +
               std::to_string(w.r[3]);
      });
}

TEST_CASE("IRIW: readers may disagree about the order of independent stores", "[litmus]") {
  const Set all = independent_reads<kAcquire>({{0, 0}, {1, 1}, {2, 2}, {3, 3}});
  CHECK(all.size() == 16);
  CHECK(all.count("1010") == 1);
}

TEST_CASE("a release is carried on through a third actor that has acquired it", "[litmus]") {
  const auto chain = [](bool acquire_between) {
    return outcomes({{0, 0}, {0, 1}, {1, 2}},
                    {[](SimPlatform p, Words& w) {
                       p.store<Scope::gpu, kRelaxed>(&w.x, uint64_t{1});
                       p.store<Scope::gpu, kRelease>(&w.y, uint64_t{1});
                     },
                     [=](SimPlatform p, Words& w) {
                       if (acquire_between) {
                         p.compare_exchange<Scope::gpu, Order::acquire>(&w.y, uint64_t{1},
                                                                        uint64_t{2});
                       } else {
                         p.compare_exchange<Scope::gpu, kRelaxed>(&w.y, uint64_t{1}, uint64_t{2});
                       }
                       p.store<Scope::sys, kRelease>(&w.r[3], w.y == 2 ? uint64_t{1} : uint64_t{0});
                     },
                     [](SimPlatform p, Words& w) {
                       w.r[0] = p.load<Scope::sys, kAcquire>(&w.r[3]) == 1 ? 1 : 0;
                       w.r[1] = p.load<Scope::sys, kRelaxed>(&w.x);
                     }},
                    first_two);
  };
  CHECK(chain(true) == kInOrder);
  CHECK(chain(false) == kAnything);
}

TEST_CASE("a read-modify-write carries the release of what it has read on, a store does not",
          "[litmus]") {
  const auto through = [](Thread between) {
    return outcomes({{0, 0}, {0, 1}, {0, 2}},
                    {[](SimPlatform p, Words& w) {
                       p.store<Scope::gpu, kRelaxed>(&w.x, uint64_t{1});
                       p.store<Scope::gpu, kRelease>(&w.y, uint64_t{1});
                     },
                     std::move(between),
                     [](SimPlatform p, Words& w) {
                       w.r[0] = p.load<Scope::gpu, kAcquire>(&w.y) == 2 ? 1 : 0;
                       w.r[1] = p.load<Scope::gpu, kRelaxed>(&w.x);
                     }},
                    first_two);
  };
  CHECK(through([](SimPlatform p, Words& w) {
          p.compare_exchange<Scope::gpu, kRelaxed>(&w.y, uint64_t{1}, uint64_t{2});
        }) == kInOrder);
  CHECK(through([](SimPlatform p, Words& w) {
          if (p.load<Scope::gpu, kRelaxed>(&w.y) == 1) {
            p.store<Scope::gpu, kRelaxed>(&w.y, uint64_t{2});
          }
        }) == kAnything);
}

TEST_CASE("a read-modify-write carries a release no farther than its scope reaches", "[litmus]") {
  const auto carried = [](auto scope) {
    return outcomes({{0, 0}, {0, 1}, {0, 1}},
                    {[](SimPlatform p, Words& w) {
                       p.store<Scope::gpu, kRelaxed>(&w.x, uint64_t{1});
                       p.store<decltype(scope)::value, kRelease>(&w.y, uint64_t{1});
                     },
                     [](SimPlatform p, Words& w) {
                       p.compare_exchange<Scope::gpu, kRelaxed>(&w.y, uint64_t{1}, uint64_t{2});
                     },
                     [](SimPlatform p, Words& w) {
                       w.r[0] = p.load<Scope::gpu, kAcquire>(&w.y) == 2 ? 1 : 0;
                       w.r[1] = p.load<Scope::gpu, kRelaxed>(&w.x);
                     }},
                    first_two);
  };
  CHECK(carried(std::integral_constant<Scope, Scope::gpu>{}) == kInOrder);
  CHECK(carried(std::integral_constant<Scope, Scope::cta>{}) == kAnything);
}

TEST_CASE("every addition counts, and each sees another's result once", "[litmus]") {
  const auto add = [](size_t i) {
    return [i](SimPlatform p, Words& w) {
      w.r[i] = p.fetch_add<Scope::gpu, kRelaxed>(&w.x, uint64_t{1});
    };
  };
  const Set all = outcomes({{0, 0}, {0, 1}, {0, 2}}, {add(0), add(1), add(2)}, [](const Words& w) {
    return std::to_string(w.x) + std::to_string(w.r[0]) + std::to_string(w.r[1]) +
           std::to_string(w.r[2]);
  });
  CHECK(all == Set{"3012", "3021", "3102", "3120", "3201", "3210"});
}

TEST_CASE("data that nobody releases is a race, as far as the scope does not reach", "[litmus]") {
  struct Shared {
    alignas(16) uint8_t data[16] = {};
    uint64_t flag = 0;
  } shared;
  const auto race_with = [&](auto scope, Scope distance) {
    const auto places = apart(distance);
    const sim::Program program = program_on(
        shared, {{"writer", places[0],
                  [&](SimPlatform p) {
                    p.write_data(shared.data, 16);
                    p.template store<decltype(scope)::value, kRelease>(&shared.flag, uint64_t{1});
                  }},
                 {"reader", places[1], [&](SimPlatform p) {
                    if (p.template load<decltype(scope)::value, kAcquire>(&shared.flag) == 1) {
                      p.read_data(shared.data, 16);
                    }
                  }}});
    const sim::ExploreResult result = explore_all(program);
    if (!result.failure.empty()) {
      CHECK(replay(program, result.schedule).failure == result.failure);
    }
    return result.failure;
  };
  using Gpu = std::integral_constant<Scope, Scope::gpu>;
  using Sys = std::integral_constant<Scope, Scope::sys>;
  CHECK(race_with(Gpu{}, Scope::gpu).empty());
  CHECK(race_with(Sys{}, Scope::sys).empty());
  CHECK(race_with(Gpu{}, Scope::sys) ==
        "data race: reader reads what is written by writer unordered: unnamed memory");
}

TEST_CASE("a wait that nobody ends is a deadlock with a name; one that somebody ends is none",
          "[litmus]") {
  uint64_t flag = 0;
  const auto run = [&](bool stores) {
    return explore_all(program_on(flag, {{"waiter",
                                          {0, 0},
                                          [&](SimPlatform p) {
                                            p.wait_until<Scope::sys, kAcquire>(
                                                &flag, [](uint64_t v) { return v == 2; }, {},
                                                "two");
                                          }},
                                         {"storer", {1, 1}, [&](SimPlatform p) {
                                            p.store<Scope::sys, kRelease>(&flag, uint64_t{1});
                                            if (stores)
                                              p.store<Scope::sys, kRelease>(&flag, uint64_t{2});
                                          }}}));
  };
  CHECK(run(false).failure == "deadlock: waiter waits for 'two'");
  CHECK(run(true).complete);
}

TEST_CASE("a wait for one of two words ends by either, and sees what both release", "[litmus]") {
  Words words;
  const auto storer = [&](uint64_t Words::*word) {
    return [&, word](SimPlatform p) { p.store<Scope::sys, kRelease>(&(words.*word), uint64_t{1}); };
  };
  sim::Program program = program_on(
      words,
      {{"waiter",
        {0, 0},
        [&](SimPlatform p) {
          p.wait_until<Scope::sys, kAcquire>(
              &words.x,
              [&](uint64_t x) { return x == 1 || p.load<Scope::sys, kAcquire>(&words.y) == 1; }, {},
              "either");
          words.r[0] = p.load<Scope::sys, kRelaxed>(&words.x);
          words.r[1] = p.load<Scope::sys, kRelaxed>(&words.y);
        }},
       {"x", {1, 1}, storer(&Words::x)},
       {"y", {2, 2}, storer(&Words::y)}});
  std::set<std::string> all;
  program.check = [&] {
    all.insert(first_two(words));
    return std::string();
  };
  REQUIRE(explore_all(program).complete);
  CHECK(all == Set{"01", "10", "11"});
}

}  // namespace
}  // namespace ringer::test
