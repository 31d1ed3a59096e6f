// SPDX-License-Identifier: Apache-2.0
// mpi_cases <case>: one process of a small MPI job, for exchange_test.cpp. Prints "process N: " and
// what it has found.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <ringer/ep/buffer.hpp>
#include <ringer/mpi/mpi_exchange.hpp>
#include <ringer/soft/soft_backend.hpp>

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

/// The host's memory, which counts what becomes of windows, and may refuse to open any. Whoever
/// closes one takes its time, and then leaves a mark that its owner must find.
class CountingMemory : public KernelMemory {
 public:
  void* allocate(size_t bytes, MemoryUse use) override { return host_.allocate(bytes, use); }
  void release(void* at, size_t bytes, MemoryUse use) noexcept override {
    if (use == MemoryUse::shared_window) {
      ++released;
      marks += marks_in(at).load();
    }
    host_.release(at, bytes, use);
  }
  void write(void* to, const void* from, size_t bytes) override { host_.write(to, from, bytes); }
  void read(void* to, const void* from, size_t bytes) override { host_.read(to, from, bytes); }
  bool host_reachable() const override { return true; }
  uint64_t sharing_domain() const override { return host_.sharing_domain(); }
  WindowHandle share(void* window) override { return host_.share(window); }
  void* open(const WindowHandle& handle) override {
    if (refuses) throw BackendError("no peer access");
    return host_.open(handle);
  }
  void close(void* opened) noexcept override {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    ++marks_in(opened);
    host_.close(opened);
  }

  bool refuses = false;
  std::atomic<int> released{0};
  std::atomic<uint32_t> marks{0};  // in released windows

 private:
  static std::atomic_ref<uint32_t> marks_in(void* window) {
    return std::atomic_ref<uint32_t>(*static_cast<uint32_t*>(window));
  }
  KernelMemory& host_ = host_memory();
};

constexpr uint32_t kRanksEach = 2;

/// Buffers of this process's ranks; "" or why there are none.
std::string make_buffers(Exchange& processes, CountingMemory& memory, uint64_t timeout_ns,
                         std::vector<std::unique_ptr<ep::Buffer>>& buffers) {
  static sim::Fabric fabric;
  static soft::SoftBackend backend(fabric);
  ep::Config config;
  config.ranks = kRanksEach * processes.ranks();
  config.max_tokens = 4;
  config.hidden = 128;
  config.topk = 2;
  config.timeout_ns = timeout_ns;
  LocalGroup group(kRanksEach, processes);
  buffers.resize(kRanksEach);
  std::string reasons[kRanksEach];
  std::vector<std::jthread> threads;
  for (uint32_t r = 0; r < kRanksEach; ++r) {
    threads.emplace_back([&, r, exchange = group.join(r)] {
      try {
        const ep::RankPlacement placement{0, ep::PathRequest::automatic, {}, &memory};
        buffers[r] = std::make_unique<ep::Buffer>(*exchange, backend, config, placement);
        exchange->all_gather({});
      } catch (const BackendError& error) {
        reasons[r] = error.what();
      }
    });
  }
  threads.clear();
  return reasons[0];
}

std::string use_buffers(Exchange& exchange, const std::string& name) {
  constexpr uint64_t kLongNs = 60'000'000'000, kShortNs = 50'000'000;
  const bool unclosed = name == "unclosed";
  CountingMemory memory;
  memory.refuses = name == "unopened" && exchange.rank() == 1;
  std::vector<std::unique_ptr<ep::Buffer>> buffers;
  std::string text = make_buffers(exchange, memory, unclosed ? kShortNs : kLongNs, buffers);
  if (!text.empty()) text += ", ";
  // The last process keeps its windows open until the others are through with waiting.
  if (unclosed && exchange.rank() + 1 == exchange.ranks()) exchange.all_gather({});
  for (const auto& buffer : buffers) {
    if (buffer) buffer->close_peers();
  }
  buffers.clear();
  if (unclosed && exchange.rank() + 1 != exchange.ranks()) exchange.all_gather({});
  return text + std::to_string(memory.released) + " windows released, closed " +
         std::to_string(memory.marks) + " times";
}

int report(const Exchange& exchange, const std::string& text) {
  std::printf("process %u: %s\n", exchange.rank(), text.c_str());
  std::fflush(stdout);
  return 0;
}

int run(const std::string& name) {
  mpi::MpiSession session;
  constexpr uint64_t kShortNs = 200'000'000, kLongNs = 60'000'000'000;
  mpi::MpiExchange exchange(session, name == "late" ? kShortNs : kLongNs);
  if (name == "late_impatient") exchange.lose_patience(kShortNs);
  const auto attempt = [&](auto body) {
    try {
      return body(exchange);
    } catch (const BackendError& error) {
      return std::string(error.what());
    }
  };
  if (name == "sizes") return report(exchange, gather_sizes(exchange));
  if (name == "buffers" || name == "unopened" || name == "unclosed") {
    return report(exchange, use_buffers(exchange, name));
  }
  if (name == "throws") return report(exchange, attempt(throw_on_last));
  if (name == "late" || name == "late_impatient") {
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
    return report(exchange, attempt([](Exchange& e) {
                    e.all_gather({});
                    return std::string("went on");
                  }));
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
