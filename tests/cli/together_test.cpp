// SPDX-License-Identifier: Apache-2.0
// What processes of one run do together; here they are threads with an exchange.
#include "together.hpp"

#include <memory>
#include <new>
#include <thread>

#include "ep_runner.hpp"
#include "routing.hpp"
#include "support/catch.hpp"

namespace ringer::tools {

namespace {

struct Thrown {
  std::string text;
  bool shared = false;
  bool usage = false, environment = false, failure = false;
};

template <class Body>
Thrown thrown_by(Body body) {
  try {
    body();
  } catch (const std::exception& e) {
    return {e.what(), dynamic_cast<const SharedMark*>(&e) != nullptr,
            dynamic_cast<const UsageError*>(&e) != nullptr,
            dynamic_cast<const BackendError*>(&e) != nullptr,
            dynamic_cast<const EpFailure*>(&e) != nullptr};
  }
  return {};
}

/// Runs `body` as `count` processes; what each has thrown.
template <class Body>
std::vector<Thrown> in_processes(uint32_t count, Body body) {
  LocalGroup group(count);
  std::vector<std::unique_ptr<Exchange>> exchanges;
  for (uint32_t p = 0; p < count; ++p) exchanges.push_back(group.join(p));
  std::vector<Thrown> thrown(count);
  {
    std::vector<std::jthread> threads;
    for (uint32_t p = 0; p < count; ++p) {
      threads.emplace_back([&, p] { thrown[p] = thrown_by([&] { body(exchanges[p].get(), p); }); });
    }
  }
  return thrown;
}

}  // namespace

TEST_CASE("a process alone keeps its own exceptions", "[together]") {
  const Thrown thrown = thrown_by([] { together(nullptr, [] { throw UsageError("x"); }); });
  CHECK(thrown.text == "x");
  CHECK(thrown.usage);
  CHECK_FALSE(thrown.shared);
  CHECK(all_texts(nullptr, "a") == std::vector<std::string>{"a"});
  require_same(nullptr, "a", "things");
}

TEST_CASE("what one process throws, all throw, in its class", "[together]") {
  const auto all = in_processes(3, [](Exchange* exchange, uint32_t process) {
    together(exchange, [] {});
    together(exchange, [&] {
      if (process == 1) throw EpFailure("rank 5: dispatch send: aborted");
      if (process == 2) throw BackendError("later");
    });
  });
  for (const Thrown& thrown : all) {
    CHECK(thrown.text == "process 1: rank 5: dispatch send: aborted");
    CHECK(thrown.shared);
    CHECK(thrown.failure);
  }
}

TEST_CASE("a reason that all have is nobody's in particular", "[together]") {
  const auto all = in_processes(
      2, [](Exchange* exchange, uint32_t) { together(exchange, [] { throw std::bad_alloc(); }); });
  for (const Thrown& thrown : all) {
    CHECK(thrown.text == "out of memory");
    CHECK(thrown.environment);
  }
}

TEST_CASE("a process that fails before a barrier ends it for the others", "[together]") {
  const auto all = in_processes(3, [](Exchange* exchange, uint32_t process) {
    together(exchange, [&] {
      if (process == 2) throw UsageError("no");
      start_together(exchange);  // the others: here, and no second time
    });
    start_together(exchange);
  });
  for (const Thrown& thrown : all) {
    CHECK(thrown.text == "process 2: no");
    CHECK(thrown.shared);
    CHECK(thrown.usage);
  }
}

TEST_CASE("a process at another step is not taken for one that has failed", "[together]") {
  const auto all = in_processes(2, [](Exchange* exchange, uint32_t process) {
    if (process == 0) return together(exchange, [] {});
    const double value = 1;
    all_values<double>(exchange, {&value, 1});
  });
  CHECK(all[0].text == "a process is at another step of the run");
  CHECK_FALSE(all[0].shared);
}

TEST_CASE("values of all processes come in their order", "[together]") {
  const auto all = in_processes(3, [](Exchange* exchange, uint32_t process) {
    const std::vector<uint32_t> mine(process, process);
    if (all_values<uint32_t>(exchange, mine) != std::vector<uint32_t>{1, 2, 2}) {
      throw std::runtime_error("values");
    }
    std::vector<double> us{1.0 * process, 10.0 - process};
    raise_to_slowest(exchange, us);
    if (us != std::vector<double>{2, 10}) throw std::runtime_error("slowest");
    require_same(exchange, "the same", "things");
    require_same(exchange, process == 2 ? "b" : "a", "things");
  });
  for (const Thrown& thrown : all) {
    CHECK(thrown.text == "process 2 was given other things than process 0");
    CHECK(thrown.shared);
    CHECK(thrown.usage);
  }
}

}  // namespace ringer::tools
