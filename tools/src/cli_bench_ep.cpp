// SPDX-License-Identifier: Apache-2.0
// `ringer bench ep`: times dispatch and combine by themselves and checks what the last ones did.
#include <algorithm>
#include <numeric>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli.hpp"
#include "ep_request.hpp"
#include "processes.hpp"
#include "settings.hpp"

namespace ringer::tools {

namespace {

/// One line of the table.
struct Row {
  std::string op;
  std::string dtype;
  uint64_t bytes = 0;  ///< per rank and launch, mean; 0: a phase, whose bytes are its whole's
  std::vector<double> us;
  uint64_t wrong = 0;

  double at(double quantile) const {
    return us[static_cast<size_t>(quantile * static_cast<double>(us.size() - 1))];
  }
  double average() const {
    return std::accumulate(us.begin(), us.end(), 0.0) / static_cast<double>(us.size());
  }
  double gbps() const { return static_cast<double>(bytes) / at(0.5) / 1e3; }
};

std::vector<Row> rows_of(const EpBench& bench, const EpRequest& request) {
  const std::string dtype = ep::to_string(request.options.config.dtype);
  const EpIteration& r = bench.result;
  std::vector<Row> rows;
  const auto add = [&rows](const char* op, const std::string& type, uint64_t bytes,
                           const std::vector<double>& us, uint64_t wrong) {
    if (us.empty()) return;
    rows.push_back({op, type, bytes, us, wrong});
    std::sort(rows.back().us.begin(), rows.back().us.end());
  };
  add("dispatch", dtype, r.dispatch_bytes, bench.dispatch.total, r.wrong_dispatch);
  add("dispatch send", dtype, 0, bench.dispatch.send, 0);
  add("dispatch receive", dtype, 0, bench.dispatch.receive, 0);
  add("combine", "bf16", r.combine_bytes, bench.combine.total, r.wrong_combine);
  add("combine send", "bf16", 0, bench.combine.send, 0);
  add("combine receive", "bf16", 0, bench.combine.receive, 0);
  return rows;
}

std::string table_of(const std::vector<Row>& rows, uint32_t tokens) {
  std::string text = fmt::format(
      "#{:<17} {:<10} {:>7} {:>11} {:>9} {:>9} {:>9} {:>9} {:>9} {:>6}\n", " op", "dtype", "tokens",
      "bytes", "min(us)", "med(us)", "avg(us)", "max(us)", "GB/s", "wrong");
  for (const Row& row : rows) {
    const bool whole = row.bytes != 0;
    text += fmt::format(
        "  {:<16} {:<10} {:>7} {:>11} {:>9.2f} {:>9.2f} {:>9.2f} {:>9.2f} {:>9} {:>6}\n", row.op,
        row.dtype, tokens, whole ? std::to_string(row.bytes) : "-", row.at(0), row.at(0.5),
        row.average(), row.at(1), whole ? fmt::format("{:.1f}", row.gbps()) : "-",
        whole ? std::to_string(row.wrong) : "-");
  }
  return text;
}

nlohmann::ordered_json json_of(const std::vector<Row>& rows, const EpRequest& request,
                               const EpIteration& result) {
  const ep::Config& c = request.options.config;
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Row& row : rows) {
    list.push_back({{"op", row.op},
                    {"dtype", row.dtype},
                    {"bytes_per_rank", row.bytes},
                    {"launches", row.us.size()},
                    {"min_us", row.at(0)},
                    {"median_us", row.at(0.5)},
                    {"avg_us", row.average()},
                    {"max_us", row.at(1)},
                    {"wrong", row.wrong}});
  }
  return {{"schema", 1},
          {"bench", "ep"},
          {"device", request.options.device == EpDevice::cuda ? "cuda" : "host"},
          {"ranks", c.ranks},
          {"processes", c.ranks / request.options.local_ranks()},
          {"tokens", c.max_tokens},
          {"hidden", c.hidden},
          {"topk", c.topk},
          {"experts_per_rank", c.experts_per_rank},
          {"rows", list},
          {"digest", fmt::format("{:016x}", result.digest)},
          {"ok", result.wrong_dispatch + result.wrong_combine == 0}};
}

class BenchEpCommand : public Command {
 public:
  explicit BenchEpCommand(CLI::App& bench)
      : Command(bench, "ep", "Time dispatch and combine, each by itself", "RINGER_EP_") {
    declare_ep_settings(settings_);
    settings_.footer("--iters is the number of launches of each; medians are over them.");
  }

  int run(Processes& processes) override {
    const PreparedRequest prepared =
        prepare_request(settings_, processes, [this](const EpRequest& request) {
          if (request.options.zero_copy) {
            settings_.get("zero-copy").reject("the stages of repeated calls alternate");
          }
          if (!request.options.check) {
            settings_.get("check").reject("a benchmark checks what it has timed");
          }
        });
    const EpRequest& request = prepared.request;
    EpGroup group(request.options);
    EpBench bench;
    try {
      bench = group.bench(request.iterations);
    } catch (const EpFailure& e) {
      if (processes.speaks()) fmt::print(stderr, "ringer: {}\n", e.what());
      return kExitFailed;
    }
    if (processes.speaks()) tell(bench, prepared, group);
    return bench.result.wrong_dispatch + bench.result.wrong_combine == 0 ? kExitOk : kExitFailed;
  }

 private:
  static void tell(const EpBench& bench, const PreparedRequest& prepared, const EpGroup& group) {
    const EpRequest& request = prepared.request;
    const std::vector<Row> rows = rows_of(bench, request);
    const auto json = json_of(rows, request, bench.result);
    if (request.json != "-") {
      fmt::print(
          "# ringer {} bench ep: {} ranks, path {}, hidden {}, topk {}, {} experts a rank\n{}",
          kVersion, request.options.config.ranks, group.path_summary(),
          request.options.config.hidden, request.options.config.topk,
          request.options.config.experts_per_rank,
          table_of(rows, request.options.config.max_tokens));
      fmt::print("RESULT {}\n", json["ok"] ? "OK" : "FAILED");
    } else {
      fmt::print("{}\n", json.dump(2));
    }
    flush_stdout();
    if (prepared.json) prepared.json->write(json.dump(2) + "\n");
  }
};

}  // namespace

std::unique_ptr<Command> add_bench_ep_command(CLI::App& bench) {
  return std::make_unique<BenchEpCommand>(bench);
}

}  // namespace ringer::tools
