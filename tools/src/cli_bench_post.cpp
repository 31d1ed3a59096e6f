// SPDX-License-Identifier: Apache-2.0
// `ringer bench post`: what it costs a kernel to post, by who shares a queue pair, where its rings
// lie and when doorbells ring.
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "bench_settings.hpp"
#include "post_bench.hpp"

namespace ringer::tools {

namespace {

const char* name_of(Sharing sharing) {
  return sharing == Sharing::exclusive ? "exclusive" : sharing == Sharing::cta ? "cta" : "gpu";
}
const char* name_of(Placement placement) { return placement == Placement::host ? "host" : "gpu"; }
const char* name_of(RecordOrder record) {
  return record == RecordOrder::trailing ? "trailing" : "before";
}
const char* name_of(RungBy rung_by) { return rung_by == RungBy::server ? "server" : "poster"; }
// Where a server rings, the poster's wish counts for nothing.
std::string doorbell_of(const PostRun& run) {
  if (run.rings.policy.rung_by == RungBy::server) return "server";
  return run.doorbell_every == 0 ? "last" : std::to_string(run.doorbell_every);
}

void print_header() {
  fmt::print(
      "# {:<10} {:<6} {:<9} {:<7} {:>9} {:>5} {:>6} {:>9} {:>7} {:>11} {:>10} {:>10} {:>6}\n",
      "sharing", "rings", "record", "rung by", "warps", "qps", "batch", "doorbell", "WQEs",
      "ns/WQE", "M/s med", "M/s best", "wrong");
}

// Of one warp: the launch's time over the WQEs that it posted meanwhile.
double ns_per_wqe(const PostRun& run, const PostResult& result) {
  return result.median_ns() / run.rings.wqes;
}
double millions(const PostResult& result, double ns) {
  return static_cast<double>(result.wqes) / ns * 1e3;
}

void print_row(const PostRun& run, const PostResult& result) {
  const PostRingsConfig& c = run.rings;
  fmt::print(
      "  {:<10} {:<6} {:<9} {:<7} {:>9} {:>5} {:>6} {:>9} {:>7} {:>11.1f} {:>10.2f} {:>10.2f} "
      "{:>6}\n",
      name_of(c.policy.sharing), name_of(c.policy.placement), name_of(c.policy.record),
      name_of(c.policy.rung_by), fmt::format("{}x{}", c.shape.blocks, c.shape.warps_per_block),
      c.shape.queue_pairs, c.batch, doorbell_of(run), c.wqes, ns_per_wqe(run, result),
      millions(result, result.median_ns()), millions(result, result.launch_ns.front()),
      result.wrong);
}

nlohmann::ordered_json json_of(const PostRun& run, const PostResult& result) {
  const PostRingsConfig& c = run.rings;
  return {{"sharing", name_of(c.policy.sharing)},
          {"placement", name_of(c.policy.placement)},
          {"record", name_of(c.policy.record)},
          {"rung_by", name_of(c.policy.rung_by)},
          {"blocks", c.shape.blocks},
          {"warps_per_block", c.shape.warps_per_block},
          {"queue_pairs", c.shape.queue_pairs},
          {"batch", c.batch},
          {"doorbell", doorbell_of(run)},
          {"wqes_per_warp", c.wqes},
          {"ring_wqebbs", c.ring_wqebbs},
          {"nic", run.nic == BenchNic::sim ? "sim" : "none"},
          {"launches", result.launch_ns.size()},
          {"ns_per_wqe_median", ns_per_wqe(run, result)},
          {"mwqes_per_s_median", millions(result, result.median_ns())},
          {"mwqes_per_s_best", millions(result, result.launch_ns.front())},
          {"wrong", result.wrong}};
}

class BenchPostCommand : public Command {
 public:
  explicit BenchPostCommand(CLI::App& bench)
      : Command(bench, "post", "Time posting by itself: reserve, write, publish, ring",
                "RINGER_BENCH_") {
    const std::string kShape = "Shape", kQueues = "Queues", kRun = "Run";
    settings_.add("blocks", "N", "1", "Blocks", kShape);
    settings_.add("warps", "N", "1", "Warps per block", kShape);
    settings_.add("qps", "N", "1", "Queue pairs; warp w posts to number w modulo N", kShape,
                  "as many as sharing asks for", "-q");
    settings_.add("iters", "N", "1024", "WQEs a warp posts in a launch", kShape, "", "-n");
    settings_.add("size", "BYTES", "8", "Of a message", kShape, "", "-s");
    settings_.add("batch", "N", "1", "WQEs a post; above 1 the whole warp writes them", kShape);
    settings_.add("sharing", "WHO", "gpu", "Who posts to a queue pair: exclusive, cta, gpu",
                  kQueues);
    settings_.add("placement", "WHERE", "host", "Where rings lie: host, gpu", kQueues);
    declare_record_setting(settings_, kQueues);
    settings_.add("rung-by", "WHO", "poster",
                  "Who stores doorbells: poster, server (one more warp)", kQueues);
    settings_.add("doorbell", "K", "1", "Ring at every K-th post; 0: at the last", kQueues);
    settings_.add("ring-wqebbs", "N", "8192", "Depth of each send ring, a power of two", kQueues);
    settings_.add("nic", "NIC", "none", "Who takes it: none (rings only), sim (software NIC)",
                  kQueues);
    settings_.add("launches", "N", "10", "Timed launches", kRun);
    settings_.add("duration", "SECONDS", "0", "Launch for so long instead", kRun, "", "-D");
    settings_.add_flag("all", false, "A table of shapes of the device instead of one", kRun, false,
                       "-a");
    declare_bench_settings(settings_);
    settings_.footer(
        "ns/WQE is a warp's: a launch's time over the WQEs that it has posted in it. M/s is of all "
        "warps.");
  }

  int run(Processes& processes) override {
    require_alone(processes);
    const BenchOutput output(settings_);
    const std::vector<PostRun> runs = read_runs();
    const auto launcher = make_p2p_launcher(read_device(settings_));
    nlohmann::ordered_json rows = nlohmann::ordered_json::array();
    uint64_t wrong = 0;
    for (const PostRun& run : runs) {
      const PostResult result = run_post(*launcher, run);
      if (rows.empty()) output.title("post", settings_);
      if (output.table() && rows.empty()) print_header();
      rows.push_back(json_of(run, result));
      wrong += result.wrong;
      if (output.table()) print_row(run, result);
      if (!result.first_wrong.empty()) {
        fmt::print(stderr, "ringer: {} wrong; the first: {}\n", result.wrong, result.first_wrong);
      }
    }
    const nlohmann::ordered_json json = {{"schema", 1},
                                         {"bench", "post"},
                                         {"device", settings_.get("device").text()},
                                         {"rows", rows},
                                         {"ok", wrong == 0}};
    return output.finish(json, wrong == 0);
  }

 private:
  PostRun read_run() const {
    constexpr uint32_t kMany = 1u << 20;
    PostRun run;
    PostRingsConfig& c = run.rings;
    c.policy.sharing = settings_.get("sharing").one_of<Sharing>(
        {{"exclusive", Sharing::exclusive}, {"cta", Sharing::cta}, {"gpu", Sharing::gpu}});
    c.policy.placement =
        settings_.get("placement")
            .one_of<Placement>({{"host", Placement::host}, {"gpu", Placement::gpu}});
    c.policy.record = read_record(settings_);
    c.policy.rung_by = settings_.get("rung-by").one_of<RungBy>(
        {{"poster", RungBy::poster}, {"server", RungBy::server}});
    const uint32_t servers = c.policy.rung_by == RungBy::server ? 1 : 0;
    c.shape.blocks = settings_.get("blocks").number32(1, 4096);
    c.shape.warps_per_block = settings_.get("warps").number32(1, p2p::kMaxPostWarps - servers);
    const Setting qps = settings_.get("qps");
    c.shape.queue_pairs = qps.number32(1, 4096);
    if (!qps.given() && c.policy.sharing != Sharing::gpu) {
      c.shape.queue_pairs = c.shape.blocks;
      if (c.policy.sharing == Sharing::exclusive) c.shape.queue_pairs *= c.shape.warps_per_block;
    }
    c.wqes = settings_.get("iters").number32(1, kMany);
    c.batch = settings_.get("batch").number32(1, kMany);
    c.bytes = settings_.get("size").number32(1, 1u << 23);
    c.ring_wqebbs = read_ring_wqebbs(settings_);
    run.doorbell_every = settings_.get("doorbell").number32(0, kMany);
    run.nic =
        settings_.get("nic").one_of<BenchNic>({{"none", BenchNic::none}, {"sim", BenchNic::sim}});
    run.launches = settings_.get("launches").number32(1, kMany);
    run.seconds = settings_.get("duration").number32(0, 3600);
    return run;
  }

  std::vector<PostRun> read_runs() const {
    const PostRun run = read_run();
    if (!settings_.get("all").boolean()) return {run};
    for (const char* name :
         {"blocks", "warps", "qps", "iters", "batch", "sharing", "placement", "doorbell", "nic"}) {
      const Setting setting = settings_.get(name);
      if (setting.given()) setting.reject("--all takes its own shapes");
    }
    // Two fibers tell as much about sharing as a thousand; a GPU shows its width.
    return read_device(settings_) == BenchDevice::cuda ? gpu_table(run) : host_table(run);
  }

  /// The shapes of a table. What cannot be rung the way `run` says is left out.
  class Table {
   public:
    explicit Table(PostRun run) : run_(std::move(run)) {}
    void add(Sharing sharing, Placement placement, p2p::PostShape shape, uint32_t wqes,
             uint32_t batch, uint32_t doorbell) {
      PostRingsConfig& c = run_.rings;
      c.policy.sharing = sharing;
      c.policy.placement = placement;
      c.shape = shape;
      c.wqes = wqes;
      c.batch = batch;
      const uint64_t posted =
          (uint64_t{shape.blocks} * shape.warps_per_block + shape.queue_pairs - 1) /
          shape.queue_pairs * wqes;
      while (c.ring_wqebbs < posted) c.ring_wqebbs *= 2;
      run_.doorbell_every = doorbell;
      const bool served = c.policy.rung_by == RungBy::server;
      if (served && shape.warps_per_block == p2p::kMaxPostWarps) return;
      if (p2p::shape_trouble(shape, c.policy) == nullptr) runs.push_back(run_);
    }
    std::vector<PostRun> runs;

   private:
    PostRun run_;
  };

  // A row a shape where a server rings: it makes no difference how often the posters wish it.
  static std::vector<uint32_t> doorbells(const PostRun& run) {
    if (run.rings.policy.rung_by == RungBy::server) return {1};
    return {1, 4, 0};
  }

  static std::vector<PostRun> host_table(const PostRun& run) {
    Table table(run);
    for (const uint32_t doorbell : doorbells(run)) {
      table.add(Sharing::exclusive, Placement::host, {1, 1, 1}, 4096, 1, doorbell);
      table.add(Sharing::gpu, Placement::host, {1, 1, 1}, 4096, 1, doorbell);
      table.add(Sharing::gpu, Placement::host, {1, 8, 1}, 512, 1, doorbell);
    }
    table.add(Sharing::exclusive, Placement::host, {1, 1, 1}, 4096, 32, 1);
    return table.runs;
  }

  static std::vector<PostRun> gpu_table(const PostRun& run) {
    constexpr auto kHost = Placement::host;
    Table table(run);
    for (const Sharing sharing : {Sharing::exclusive, Sharing::gpu}) {
      for (const uint32_t doorbell : doorbells(run)) {
        table.add(sharing, kHost, {1, 1, 1}, 4096, 1, doorbell);
      }
      table.add(sharing, kHost, {1, 1, 1}, 4096, 4, 1);
      table.add(sharing, kHost, {1, 1, 1}, 4096, 32, 1);
    }
    table.add(Sharing::gpu, kHost, {1, 8, 1}, 1024, 1, 1);
    table.add(Sharing::gpu, kHost, {8, 1, 1}, 1024, 1, 1);
    table.add(Sharing::cta, kHost, {1, 8, 1}, 1024, 1, 1);
    table.add(Sharing::gpu, kHost, {64, 8, 16}, 256, 1, 4);
    table.add(Sharing::gpu, kHost, {128, 8, 144}, 256, 1, 1);
    table.add(Sharing::gpu, kHost, {128, 8, 128}, 256, 1, 1);
    for (const Placement placement : {kHost, Placement::gpu}) {
      for (const uint32_t doorbell : doorbells(run)) {
        if (doorbell != 4)
          table.add(Sharing::exclusive, placement, {132, 1, 132}, 4096, 1, doorbell);
      }
      table.add(Sharing::exclusive, placement, {132, 1, 132}, 4096, 32, 1);
    }
    for (const uint32_t blocks : {4u, 16u, 33u, 66u, 132u}) {
      table.add(Sharing::gpu, kHost, {blocks, 8, 1}, 7, 1, 1);
    }
    table.add(Sharing::gpu, kHost, {132, 31, 1}, 7, 1, 1);
    table.add(Sharing::gpu, kHost, {132, 32, 1}, 7, 1, 1);
    return table.runs;
  }
};

}  // namespace

std::unique_ptr<Command> add_bench_post_command(CLI::App& bench) {
  return std::make_unique<BenchPostCommand>(bench);
}

}  // namespace ringer::tools
