// SPDX-License-Identifier: Apache-2.0
// `ringer bench pingpong`: latency of a put with a flag behind it, like perftest's ib_write_lat.
#include <numeric>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "bench_settings.hpp"
#include "ping_pong_bench.hpp"

namespace ringer::tools {

namespace {

class BenchPingPongCommand : public Command {
 public:
  explicit BenchPingPongCommand(CLI::App& bench)
      : Command(bench, "pingpong", "Latency of a put and its flag, there and back",
                "RINGER_BENCH_") {
    const std::string kRun = "Run";
    settings_.add("size", "BYTES", "8", "Of a message", kRun, "", "-s");
    settings_.add_flag("all", false, "Every power of two from 2 bytes to 8 MiB", kRun, false, "-a");
    settings_.add("iters", "N", "1000", "Round trips, after a tenth of them as warm-up", kRun, "",
                  "-n");
    settings_.add("duration", "SECONDS", "0", "Go on for so long instead", kRun, "", "-D");
    declare_record_setting(settings_, kRun);
    declare_bench_settings(settings_);
    settings_.footer(
        "Latencies are half a round trip. They are those of a simulator on this processor.");
  }

  int run(Processes& processes) override {
    require_alone(processes);
    const BenchOutput output(settings_);
    const std::vector<uint32_t> sizes = read_sizes(settings_);
    PingPongRun run;
    run.iterations = settings_.get("iters").number32(1, 1u << 24);
    run.seconds = settings_.get("duration").number32(0, 3600);
    run.record = read_record(settings_);
    const auto launcher = make_p2p_launcher(read_device(settings_));
    output.title("pingpong, by the software NIC", settings_);
    if (output.table()) {
      fmt::print("#{:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>6}\n", "bytes", "trips", "min(us)",
                 "med(us)", "avg(us)", "99%(us)", "max(us)", "wrong");
    }
    nlohmann::ordered_json rows = nlohmann::ordered_json::array();
    uint64_t wrong = 0;
    for (const uint32_t bytes : sizes) {
      run.bytes = bytes;
      const PingPongResult result = run_ping_pong(*launcher, run);
      wrong += result.wrong;
      rows.push_back(row(bytes, result, output.table()));
    }
    return output.finish({{"schema", 1},
                          {"bench", "pingpong"},
                          {"device", settings_.get("device").text()},
                          {"rows", rows},
                          {"ok", wrong == 0}},
                         wrong == 0);
  }

 private:
  static nlohmann::ordered_json row(uint32_t bytes, const PingPongResult& result, bool print) {
    const std::vector<uint64_t>& trips = result.round_trips_ns;
    const auto one_way_us = [&](double quantile) {
      const auto at = static_cast<size_t>(quantile * static_cast<double>(trips.size() - 1));
      return static_cast<double>(trips[at]) / 2e3;
    };
    const double average =
        std::accumulate(trips.begin(), trips.end(), 0.0) / static_cast<double>(trips.size()) / 2e3;
    if (print) {
      fmt::print("{:>10} {:>9} {:>9.2f} {:>9.2f} {:>9.2f} {:>9.2f} {:>9.2f} {:>6}\n", bytes,
                 trips.size(), one_way_us(0), one_way_us(0.5), average, one_way_us(0.99),
                 one_way_us(1), result.wrong);
    }
    return {{"bytes", bytes},          {"round_trips", trips.size()},
            {"min_us", one_way_us(0)}, {"median_us", one_way_us(0.5)},
            {"avg_us", average},       {"p99_us", one_way_us(0.99)},
            {"max_us", one_way_us(1)}, {"wrong", result.wrong}};
  }
};

}  // namespace

std::unique_ptr<Command> add_bench_ping_pong_command(CLI::App& bench) {
  return std::make_unique<BenchPingPongCommand>(bench);
}

}  // namespace ringer::tools
