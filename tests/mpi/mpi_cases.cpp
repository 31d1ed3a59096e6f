// SPDX-License-Identifier: Apache-2.0
// mpi_cases <case>: one process of a small MPI job, for exchange_test.cpp. Prints "process N: " and
// what it has found.
#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <thread>

#include <ringer/mpi/mpi_exchange.hpp>

namespace {

using namespace ringer;

std::string gather_sizes(Exchange& exchange) {
  const auto part_of = [](uint32_t round, uint32_t rank) {
    return std::vector<std::byte>((round * 37 + rank * 1001) % 5000 * (round % 3),
                                  static_cast<std::byte>(round + rank));
  };
  for (uint32_t round = 0; round < 100; ++round) {
    const auto all = exchange.all_gather(part_of(round, exchange.rank()));
    if (all.size() != exchange.ranks()) return "wrong number of parts";
    for (uint32_t r = 0; r < exchange.ranks(); ++r) {
      if (all[r] != part_of(round, r)) return "round " + std::to_string(round) + " differs";
    }
  }
  return "all as sent";
}

std::string throw_on_last(Exchange& exchange) {
  collective_step(exchange, [] {});
  collective_step(exchange, [&] {
    if (exchange.rank() + 1 == exchange.ranks()) throw std::runtime_error("no window");
  });
  return "went on";
}

// Ends by being ended; the limit is for the case that nobody does.
[[noreturn]] void stay_away() {
  std::this_thread::sleep_for(std::chrono::seconds(100));
  std::exit(99);
}

std::string gather_without_last(Exchange& exchange) {
  if (exchange.rank() + 1 == exchange.ranks()) stay_away();
  exchange.all_gather({});
  return "went on";
}

int report(const Exchange& exchange, const std::string& text) {
  std::printf("process %u: %s\n", exchange.rank(), text.c_str());
  std::fflush(stdout);
  return 0;
}

int run(const std::string& name) {
  mpi::MpiSession session;
  const bool late = name.starts_with("late");
  mpi::MpiExchange exchange(session, late ? 200'000'000 : 60'000'000'000);
  const auto attempt = [&](auto body) {
    try {
      return body(exchange);
    } catch (const BackendError& error) {
      return std::string(error.what());
    }
  };
  if (name == "sizes") return report(exchange, gather_sizes(exchange));
  if (name == "throws") return report(exchange, attempt(throw_on_last));
  if (name == "late") {
    report(exchange, attempt(gather_without_last));
    report(exchange, "again: " + attempt([](Exchange& e) {
                       e.all_gather({});
                       return std::string("went on");
                     }));
    return 0;  // the session ends the job
  }
  if (name == "abort") {
    if (exchange.rank() == 0) session.abort(7);
    exchange.all_gather({});
  }
  if (name == "unwinds") {
    if (exchange.rank() == 0) throw std::runtime_error("one process fails by itself");
    exchange.all_gather({});
  }
  return 98;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return argc == 2 ? run(argv[1]) : 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "mpi_cases: %s\n", error.what());
    return 97;
  }
}
