// SPDX-License-Identifier: Apache-2.0
// `ringer bench put_bw`: RDMA WRITE through the software NIC, like perftest's ib_write_bw.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "bench_settings.hpp"
#include "post_bench.hpp"

namespace ringer::tools {

namespace {

class BenchPutBwCommand : public Command {
 public:
  explicit BenchPutBwCommand(CLI::App& bench)
      : Command(bench, "put_bw", "Bandwidth of puts through the software NIC", "RINGER_BENCH_") {
    const std::string kRun = "Run";
    settings_.add("size", "BYTES", "65536", "Of a message", kRun, "", "-s");
    settings_.add_flag("all", false, "Every power of two from 2 bytes to 8 MiB", kRun, false, "-a");
    settings_.add("iters", "N", "1000", "Messages a queue pair and launch", kRun, "", "-n");
    settings_.add("duration", "SECONDS", "0", "Repeat for so long instead of --launches", kRun, "",
                  "-D");
    settings_.add("launches", "N", "5", "Launches for each size", kRun);
    settings_.add("qps", "N", "1", "Queue pairs, each with a warp of its own", kRun, "", "-q");
    settings_.add("doorbell", "K", "1", "Ring at every K-th message; 0: at the last", kRun);
    settings_.add("ring-wqebbs", "N", "128", "Depth of each send ring, a power of two", kRun);
    declare_bench_settings(settings_);
    settings_.footer("Times are those of a simulator on this processor, not of a NIC.");
  }

  int run(Processes& processes) override {
    require_alone(processes);
    const BenchOutput output(settings_);
    const std::vector<uint32_t> sizes = read_sizes(settings_);
    PostRun run = read_run();
    const auto launcher = make_p2p_launcher(read_device(settings_));
    nlohmann::ordered_json rows = nlohmann::ordered_json::array();
    uint64_t wrong = 0;
    for (const uint32_t bytes : sizes) {
      run.rings.bytes = bytes;
      const PostResult result = run_post(*launcher, run);
      if (rows.empty()) output.title("put_bw, by the software NIC", settings_);
      if (output.table() && rows.empty()) {
        fmt::print("#{:>9} {:>9} {:>12} {:>12} {:>10} {:>6}\n", "bytes", "messages", "GB/s best",
                   "GB/s med", "M msg/s", "wrong");
      }
      const auto messages = static_cast<double>(result.wqes);
      const double best = messages * bytes / result.launch_ns.front();
      const double median = messages * bytes / result.median_ns();
      const double rate = messages / result.median_ns() * 1e3;
      wrong += result.wrong;
      rows.push_back({{"bytes", bytes},
                      {"messages", result.wqes},
                      {"launches", result.launch_ns.size()},
                      {"gbytes_per_s_best", best},
                      {"gbytes_per_s_median", median},
                      {"mmessages_per_s", rate},
                      {"wrong", result.wrong}});
      if (output.table()) {
        fmt::print("{:>10} {:>9} {:>12.3f} {:>12.3f} {:>10.3f} {:>6}\n", bytes, result.wqes, best,
                   median, rate, result.wrong);
      }
      if (!result.first_wrong.empty()) fmt::print(stderr, "ringer: {}\n", result.first_wrong);
    }
    return output.finish({{"schema", 1},
                          {"bench", "put_bw"},
                          {"device", settings_.get("device").text()},
                          {"queue_pairs", run.rings.shape.queue_pairs},
                          {"rows", rows},
                          {"ok", wrong == 0}},
                         wrong == 0);
  }

 private:
  PostRun read_run() const {
    PostRun run;
    PostRingsConfig& c = run.rings;
    c.policy.sharing = Sharing::exclusive;
    const uint32_t qps = settings_.get("qps").number32(1, 4096);
    c.shape = {qps, 1, qps};
    c.wqes = settings_.get("iters").number32(1, 1u << 20);
    c.batch = 1;
    c.ring_wqebbs = read_ring_wqebbs(settings_);
    run.doorbell_every = settings_.get("doorbell").number32(0, 1u << 20);
    run.nic = BenchNic::sim;
    run.launches = settings_.get("launches").number32(1, 1u << 20);
    run.seconds = settings_.get("duration").number32(0, 3600);
    return run;
  }
};

}  // namespace

std::unique_ptr<Command> add_bench_put_bw_command(CLI::App& bench) {
  return std::make_unique<BenchPutBwCommand>(bench);
}

}  // namespace ringer::tools
