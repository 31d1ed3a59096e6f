// SPDX-License-Identifier: Apache-2.0
// Set-up is collective: it succeeds on all ranks or fails on all of them, with one reason.
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include <ringer/control_plane.hpp>

#include "support/catch.hpp"

namespace ringer::test {
namespace {

/// Runs `body` on a thread for each rank; returns what each threw, or "".
template <class Body>
std::vector<std::string> on_each_rank(uint32_t ranks, Body body) {
  LocalGroup group(ranks);
  std::vector<std::unique_ptr<Exchange>> exchanges;
  for (uint32_t r = 0; r < ranks; ++r) exchanges.push_back(group.join(r));
  std::vector<std::string> thrown(ranks);
  std::vector<std::jthread> threads;
  for (uint32_t r = 0; r < ranks; ++r) {
    threads.emplace_back([&, r, exchange = std::move(exchanges[r])]() mutable {
      try {
        body(*exchange);
      } catch (const std::exception& error) {
        thrown[r] = error.what();
      }
      exchange.reset();
    });
  }
  threads.clear();
  return thrown;
}

// Bug class: one rank falls back alone after an exception and the others hang or mix protocols.
TEST_CASE("a step that throws on one rank throws on all, naming that rank", "[collective]") {
  std::atomic<uint32_t> further{0};
  const auto thrown = on_each_rank(3, [&](Exchange& exchange) {
    collective_step(exchange, [] {});
    collective_step(exchange, [&] {
      if (exchange.rank() == 1) throw std::runtime_error("register_memory failed");
    });
    ++further;
  });
  for (const std::string& text : thrown) CHECK(text == "rank 1: register_memory failed");
  CHECK(further == 0);
}

TEST_CASE("when several ranks throw, all report the first of them", "[collective]") {
  const auto thrown = on_each_rank(3, [&](Exchange& exchange) {
    collective_step(exchange, [&] {
      if (exchange.rank() != 0) throw std::runtime_error("no " + std::to_string(exchange.rank()));
    });
  });
  for (const std::string& text : thrown) CHECK(text == "rank 1: no 1");
}

TEST_CASE("an exception without a text still fails the step everywhere", "[collective]") {
  const auto thrown = on_each_rank(2, [&](Exchange& exchange) {
    collective_step(exchange, [&] {
      if (exchange.rank() == 0) throw std::runtime_error("");
    });
  });
  for (const std::string& text : thrown) CHECK(text == "rank 0: unknown error");
}

TEST_CASE("a rank that leaves ends the waits of the others", "[collective]") {
  const auto thrown = on_each_rank(3, [](Exchange& exchange) {
    if (exchange.rank() == 2) return;
    all_gather_value(exchange, exchange.rank());
  });
  CHECK(thrown[2].empty());
  for (const uint32_t r : {0u, 1u}) CHECK(thrown[r] == "rank 2 left during set-up");
}

TEST_CASE("gathers follow one another without mixing", "[collective]") {
  constexpr uint32_t kRanks = 4;
  const auto thrown = on_each_rank(kRanks, [](Exchange& exchange) {
    for (uint32_t round = 0; round < 200; ++round) {
      const std::vector<std::byte> mine((round + exchange.rank()) % 7,
                                        static_cast<std::byte>(round + exchange.rank()));
      const auto all = exchange.all_gather(mine);
      for (uint32_t r = 0; r < kRanks; ++r) {
        const std::vector<std::byte> expected((round + r) % 7, static_cast<std::byte>(round + r));
        if (all[r] != expected) throw std::runtime_error("round " + std::to_string(round));
      }
    }
  });
  for (const std::string& text : thrown) CHECK(text == "");
}

// A rank whose time was up has left: nobody may go on with what it had said.
TEST_CASE("a gather that timed out for one rank fails for those who come later", "[collective]") {
  LocalGroup group(2, 1);
  const auto first = group.join(0);
  const auto second = group.join(1);
  CHECK_THROWS_AS(all_gather_value(*first, 1), BackendError);
  CHECK_THROWS_AS(all_gather_value(*second, 2), BackendError);
}

TEST_CASE("ranks that disagree on a size are told", "[collective]") {
  const auto thrown = on_each_rank(2, [](Exchange& exchange) {
    if (exchange.rank() == 0) {
      all_gather_value(exchange, uint32_t{1});
    } else {
      all_gather_value(exchange, uint64_t{1});
    }
  });
  for (const std::string& text : thrown) CHECK(text == "all_gather: ranks disagree on a size");
}

/// As on_each_rank(), with the ranks spread over processes that are threads of this one.
template <class Body>
std::vector<std::string> on_each_rank_of(uint32_t processes, uint32_t ranks_each, Body body) {
  std::vector<std::string> thrown(processes * ranks_each);
  const auto failed = on_each_rank(processes, [&](Exchange& process) {
    LocalGroup group(ranks_each, process);
    std::vector<std::unique_ptr<Exchange>> exchanges;
    for (uint32_t r = 0; r < ranks_each; ++r) exchanges.push_back(group.join(r));
    std::vector<std::jthread> threads;
    for (auto& joined : exchanges) {
      threads.emplace_back([&, exchange = std::move(joined)]() mutable {
        const uint32_t rank = exchange->rank();
        try {
          body(*exchange);
        } catch (const std::exception& error) {
          thrown[rank] = error.what();
        }
        exchange.reset();
      });
    }
  });
  for (const std::string& text : failed) CHECK(text == "");
  return thrown;
}

TEST_CASE("ranks spread over processes gather as if they were in one", "[collective]") {
  constexpr uint32_t kProcesses = 3, kEach = 2, kRanks = kProcesses * kEach;
  const auto thrown = on_each_rank_of(kProcesses, kEach, [](Exchange& exchange) {
    if (exchange.ranks() != kRanks) throw std::runtime_error("ranks");
    for (uint32_t round = 0; round < 100; ++round) {
      const std::vector<std::byte> mine((round * exchange.rank()) % 5,
                                        static_cast<std::byte>(round + exchange.rank()));
      const auto all = exchange.all_gather(mine);
      if (all.size() != kRanks) throw std::runtime_error("size");
      for (uint32_t r = 0; r < kRanks; ++r) {
        const std::vector<std::byte> expected((round * r) % 5, static_cast<std::byte>(round + r));
        if (all[r] != expected) throw std::runtime_error("round " + std::to_string(round));
      }
    }
  });
  for (const std::string& text : thrown) CHECK(text == "");
}

TEST_CASE("a step that throws on a rank of one process throws in all", "[collective]") {
  const auto thrown = on_each_rank_of(2, 2, [](Exchange& exchange) {
    collective_step(exchange, [&] {
      if (exchange.rank() == 2) throw std::runtime_error("no memory");
    });
  });
  for (const std::string& text : thrown) CHECK(text == "rank 2: no memory");
}

TEST_CASE("what breaks the exchange of processes reaches all their ranks", "[collective]") {
  class Broken : public Exchange {
   public:
    uint32_t rank() const override { return 1; }
    uint32_t ranks() const override { return 2; }
    std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte>) override {
      if (malformed) return {{}, {}};
      throw BackendError("process 0 has gone");
    }
    bool malformed = false;
  };
  Broken processes;
  std::string expected = "process 0 has gone";
  SECTION("it throws") {}
  SECTION("something else comes") {
    processes.malformed = true;
    expected = "exchange: a process brought something else than its ranks";
  }
  LocalGroup group(2, processes);
  const auto first = group.join(0);
  const auto second = group.join(1);
  CHECK(first->rank() == 2);
  std::string texts[2];
  {
    const auto gather = [](Exchange& exchange, std::string& text) {
      try {
        all_gather_value(exchange, 1);
      } catch (const BackendError& error) {
        text = error.what();
      }
    };
    const std::jthread other([&] { gather(*second, texts[1]); });
    gather(*first, texts[0]);
  }
  for (const std::string& text : texts) CHECK(text == expected);
}

TEST_CASE("nobody joins beyond the group", "[collective]") {
  LocalGroup group(2);
  CHECK_THROWS_AS(group.join(2), BackendError);
}

}  // namespace
}  // namespace ringer::test
