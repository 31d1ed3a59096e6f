// SPDX-License-Identifier: Apache-2.0
// A group whose processes are threads of this one: what one finds, all report.
#include <functional>
#include <thread>

#include "ep_support.hpp"
#include "together.hpp"

using namespace ringer;
using namespace ringer::test;
using tools::EpGroup;
using tools::EpIteration;
using tools::EpOptions;

namespace {

constexpr uint32_t kProcesses = 2;

EpOptions spread_group() {
  EpOptions o = small_group();
  o.ranks_per_node = 0;
  o.deterministic = false;
  return o;
}

/// Runs `body(group, process)` in each process; `change` gives each its options.
void in_processes(const EpOptions& options, const std::function<void(EpOptions&, uint32_t)>& change,
                  const std::function<void(EpGroup&, uint32_t)>& body) {
  LocalGroup processes(kProcesses);
  std::vector<std::unique_ptr<Exchange>> exchanges;
  for (uint32_t p = 0; p < kProcesses; ++p) exchanges.push_back(processes.join(p));
  std::vector<std::jthread> threads;
  for (uint32_t p = 0; p < kProcesses; ++p) {
    threads.emplace_back([&, p] {
      EpOptions mine = options;
      mine.processes = exchanges[p].get();
      change(mine, p);
      EpGroup group(mine);
      body(group, p);
    });
  }
}

}  // namespace

TEST_CASE("ranks in several processes give the digest of one", "[ep][processes]") {
  EpOptions alone = spread_group();
  const std::vector<uint64_t> expected = run_exact(alone);
  std::vector<uint64_t> digests[kProcesses];
  in_processes(
      alone, [](EpOptions&, uint32_t) {},
      [&](EpGroup& group, uint32_t process) {
        for (uint64_t i = 0; i < expected.size(); ++i) {
          digests[process].push_back(group.iterate(i).digest);
        }
      });
  for (const auto& found : digests) REQUIRE(found == expected);
}

TEST_CASE("a difference in one process counts in all", "[ep][processes]") {
  EpIteration results[kProcesses];
  in_processes(
      spread_group(),
      [](EpOptions& o, uint32_t process) {
        // The second process believes that rank 0 has a token less than it sends.
        o.routing = std::make_shared<RoutingBy>(
            [](const tools::RoutingShape& shape, uint32_t, uint32_t t, uint32_t k) {
              return static_cast<int32_t>((t + 3 * k) % shape.experts);
            },
            [process](const tools::RoutingShape& shape, uint32_t rank) {
              return shape.tokens - (process == 1 && rank == 0 ? 1 : 0);
            });
      },
      [&](EpGroup& group, uint32_t process) { results[process] = group.iterate(0); });
  for (const EpIteration& result : results) {
    CHECK(result.wrong_dispatch == 2);  // two of the token's experts are there
    CHECK(result.wrong_combine == 0);
    CHECK_THAT(result.first_wrong, contains("from rank 0: token 23 unknown"));
  }
}

TEST_CASE("a rank that fails in one process fails all, and is named by all", "[ep][processes]") {
  EpOptions o = spread_group();
  o.config.timeout_ns = 200'000'000;
  std::string texts[kProcesses];
  bool shared[kProcesses] = {};
  in_processes(
      o, [](EpOptions&, uint32_t) {},
      [&](EpGroup& group, uint32_t process) {
        if (process == 1) group.buffer(1).abort();
        try {
          group.iterate(0);
        } catch (const tools::EpFailure& failure) {
          texts[process] = failure.what();
          shared[process] = dynamic_cast<const tools::SharedMark*>(&failure) != nullptr;
        }
      });
  CHECK(texts[0] == texts[1]);
  CHECK_THAT(texts[0], contains("rank 3") || contains("peer 3"));
  for (const bool mark : shared) CHECK(mark);
}

TEST_CASE("what keeps one process from starting keeps all", "[ep][processes]") {
  std::string texts[kProcesses];
  LocalGroup processes(kProcesses);
  std::vector<std::unique_ptr<Exchange>> exchanges;
  for (uint32_t p = 0; p < kProcesses; ++p) exchanges.push_back(processes.join(p));
  {
    std::vector<std::jthread> threads;
    for (uint32_t p = 0; p < kProcesses; ++p) {
      threads.emplace_back([&, p] {
        EpOptions mine = spread_group();
        mine.processes = exchanges[p].get();
        if (p == 1) mine.warps_per_block = 33;
        try {
          const EpGroup group(mine);
        } catch (const std::exception& error) {
          texts[p] = error.what();
        }
      });
    }
  }
  for (const std::string& text : texts) CHECK_THAT(text, contains("process 1: launch of 2 blocks"));
}
