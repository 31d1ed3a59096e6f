// SPDX-License-Identifier: Apache-2.0
#include "ep_report.hpp"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli.hpp"
#include "random.hpp"

namespace ringer::tools {

namespace {

constexpr int kSchema = 1;

const char* on_off(bool value) { return value ? "on" : "off"; }

std::string doorbell_text(const AnyDoorbell& doorbell) {
  if (doorbell.adaptive) return "adaptive";
  return doorbell.every == 0 ? "tail" : fmt::format("every:{}", doorbell.every);
}

const char* flags_text(ep::FlagPolicy flags) {
  return flags == ep::FlagPolicy::atomic_add ? "atomic" : "write";
}

const char* backend_text(EpBackend backend) {
  static constexpr const char* kNames[] = {"sim", "mlx5", "verbs"};
  return kNames[static_cast<size_t>(backend)];
}

// What `ringer run` emulates is a NIC to libibverbs, too.
const char* tier_text(const EpOptions& options) {
  return options.backend == EpBackend::sim ? "T0 laptop: software NIC"
                                           : "NICs that libibverbs knows";
}

const char* cq_text(CqMode mode) { return mode == CqMode::collapsed ? "collapsed" : "owner"; }

std::string commented(const std::string& text) {
  std::string lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string line = "# " + text.substr(at, end - at);
    line.erase(line.find_last_not_of(' ') + 1);
    lines += line + "\n";
    at = end + 1;
  }
  return lines;
}

uint32_t nodes_of(const EpOptions& o) {
  return o.ranks_per_node == 0 ? 1 : (o.config.ranks + o.ranks_per_node - 1) / o.ranks_per_node;
}

}  // namespace

void PhaseStatistics::add(double us) {
  min_us = count == 0 ? us : std::min(min_us, us);
  max_us = std::max(max_us, us);
  sum_us += us;
  ++count;
}

EpReport::EpReport(const EpRequest& request) : request_(request) {}

void EpReport::add(const EpIteration& iteration, bool timed) {
  wrong_dispatch_ += iteration.wrong_dispatch;
  wrong_combine_ += iteration.wrong_combine;
  if (first_wrong_.empty()) first_wrong_ = iteration.first_wrong;
  digest_ = Random::mix(digest_ + iteration.digest);
  if (!timed) return;
  ++timed_;
  dispatch_.add(iteration.times.dispatch_us);
  dispatch_send_.add(iteration.times.dispatch_send_us);
  dispatch_receive_.add(iteration.times.dispatch_receive_us);
  combine_.add(iteration.times.combine_us);
  combine_send_.add(iteration.times.combine_send_us);
  combine_receive_.add(iteration.times.combine_receive_us);
  dispatch_bytes_ += iteration.dispatch_bytes;
  combine_bytes_ += iteration.combine_bytes;
}

void EpReport::describe(const EpGroup& group) {
  queue_pairs_ = group.queue_pairs();
  paths_ = group.path_table();
  backend_ = group.backend_text();
  path_summary_ = group.path_summary();
  const uint32_t ranks = request_.options.config.ranks;
  const auto& paths = group.paths();
  path_matrix_.assign(ranks, {});
  for (size_t i = 0; i < paths.size(); ++i) {
    const bool self = i / ranks == i % ranks;
    path_matrix_[i / ranks].push_back(self ? "self" : ep::to_string(paths[i].path));
  }
}

void EpReport::finish(EpGroup& group) { nic_ = group.nic_totals(); }

std::vector<ReportRow> EpReport::rows() const {
  const std::string dtype = ep::to_string(request_.options.config.dtype);
  const uint64_t out = mean(dispatch_bytes_), back = mean(combine_bytes_);
  const bool split = request_.options.split_phases;
  std::vector<ReportRow> rows;
  rows.push_back({"dispatch", dtype, true, out, dispatch_, wrong_dispatch_});
  if (split) {
    rows.push_back({"dispatch send", dtype, false, out, dispatch_send_, 0});
    rows.push_back({"dispatch receive", dtype, false, out, dispatch_receive_, 0});
  }
  rows.push_back({"combine", "bf16", true, back, combine_, wrong_combine_});
  if (split) {
    rows.push_back({"combine send", "bf16", false, back, combine_send_, 0});
    rows.push_back({"combine receive", "bf16", false, back, combine_receive_, 0});
  }
  return rows;
}

std::string EpReport::header() const {
  const EpOptions& o = request_.options;
  const ep::Config& c = o.config;
  std::string text;
  const auto line = [&text](const std::string& what) { text += "# " + what + "\n"; };
  line(fmt::format("ringer {} ep", kVersion));
  line(fmt::format("tier         {}; backend {}", tier_text(o), backend_text(o.backend)));
  const uint32_t processes = o.config.ranks / o.local_ranks();
  line(fmt::format("ranks        {} on {} node{}{}", c.ranks, nodes_of(o),
                   nodes_of(o) == 1 ? "" : "s",
                   processes == 1 ? "" : fmt::format(", in {} processes", processes)));
  line(fmt::format("shape        {} tokens a rank, hidden {}, topk {}, {} experts ({} a rank)",
                   c.max_tokens, c.hidden, c.topk, c.experts(), c.experts_per_rank));
  line(fmt::format("dtype        {} dispatch, bf16 combine", ep::to_string(c.dtype)));
  line(fmt::format("routing      {}, seed {}", request_.routing, o.seed));
  line(fmt::format("launch       {} blocks x {} warps a rank, phases {}, zero-copy {}", o.blocks,
                   o.warps_per_block, o.split_phases ? "split" : "both", on_off(o.zero_copy)));
  line(fmt::format("queue pairs  {}, rings of {} WQEBBs, cq {}, doorbell {}, flags {}",
                   queue_pairs_, c.ring_wqebbs, cq_text(c.cq_mode), doorbell_text(c.doorbell),
                   flags_text(c.flags)));
  line(fmt::format("run          {} iterations after {} of warm-up, {}, check {}",
                   request_.iterations, request_.warmup,
                   o.deterministic ? "deterministic" : "threaded", on_off(o.check)));
  if (!backend_.empty()) {
    line("backend");
    text += commented(backend_);
  }
  line("paths");
  return text + commented(paths_) + "#\n";
}

std::string EpReport::results() const {
  if (!error_.empty()) return commented(error_) + "RESULT FAILED\n";
  std::string text = fmt::format(
      "#{:<17} {:<6} {:<10} {:>7} {:>11} {:>11} {:>11} {:>11} {:>8} {:>6}\n", " op", "path",
      "dtype", "tokens", "bytes", "min(us)", "avg(us)", "max(us)", "GB/s", "wrong");
  const bool check = request_.options.check;
  for (const ReportRow& r : rows()) {
    text += fmt::format(
        "  {:<16} {:<6} {:<10} {:>7} {:>11} {:>11.1f} {:>11.1f} {:>11.1f} {:>8} {:>6}\n", r.op,
        path_summary_, r.dtype, request_.options.config.max_tokens, r.bytes, r.times.min_us,
        r.times.average_us(), r.times.max_us, r.whole ? fmt::format("{:.3f}", r.algbw_gbps()) : "-",
        !r.whole ? "-"
        : check  ? std::to_string(r.wrong)
                 : "N/A");
  }
  const double per_doorbell =
      nic_.doorbells == 0 ? 0
                          : static_cast<double>(nic_.wqes) / static_cast<double>(nic_.doorbells);
  if (request_.options.backend == EpBackend::sim) {
    text += fmt::format("# NIC: {} WQEs, {} doorbells, {:.1f} WQEs per doorbell, {} CQEs\n",
                        nic_.wqes, nic_.doorbells, per_doorbell, nic_.cqes);
  }
  text += check ? fmt::format("# digest {:016x}\n", digest_) : "# digest N/A (no check)\n";
  if (!first_wrong_.empty()) text += "# first difference: " + first_wrong_ + "\n";
  return text + (ok() ? "RESULT OK\n" : "RESULT FAILED\n");
}

nlohmann::ordered_json EpReport::json() const {
  using Json = nlohmann::ordered_json;
  const EpOptions& o = request_.options;
  const ep::Config& c = o.config;
  Json list = Json::array();
  if (error_.empty()) {
    for (const ReportRow& r : rows()) {
      Json row = {{"op", r.op},
                  {"path", path_summary_},
                  {"dtype", r.dtype},
                  {"tokens", c.max_tokens},
                  {"bytes_per_rank", r.bytes},
                  {"min_us", r.times.min_us},
                  {"avg_us", r.times.average_us()},
                  {"max_us", r.times.max_us}};
      row["algbw_gbps"] = r.whole ? Json(r.algbw_gbps()) : Json(nullptr);
      row["wrong"] = r.whole && o.check ? Json(r.wrong) : Json(nullptr);
      list.push_back(row);
    }
  }
  Json root;
  root["schema"] = kSchema;
  root["version"] = kVersion;
  root["environment"] = {{"tier", tier_text(o)},
                         {"backend", backend_text(o.backend)},
                         {"deterministic", o.deterministic}};
  root["shape"] = {{"ranks", c.ranks},
                   {"nodes", nodes_of(o)},
                   {"processes", c.ranks / o.local_ranks()},
                   {"tokens", c.max_tokens},
                   {"hidden", c.hidden},
                   {"topk", c.topk},
                   {"experts_per_rank", c.experts_per_rank},
                   {"dtype", ep::to_string(c.dtype)},
                   {"routing", request_.routing},
                   {"seed", o.seed}};
  root["run"] = {{"iterations", request_.iterations},
                 {"warmup", request_.warmup},
                 {"blocks", o.blocks},
                 {"warps", o.warps_per_block},
                 {"zero_copy", o.zero_copy},
                 {"split_phases", o.split_phases},
                 {"check", o.check}};
  root["queues"] = {{"queue_pairs", queue_pairs_},
                    {"ring_wqebbs", c.ring_wqebbs},
                    {"cq", cq_text(c.cq_mode)},
                    {"doorbell", doorbell_text(c.doorbell)},
                    {"flags", flags_text(c.flags)}};
  root["paths"] = path_matrix_;
  root["rows"] = list;
  root["nic"] = {{"wqes", nic_.wqes},
                 {"doorbells", nic_.doorbells},
                 {"cqes", nic_.cqes},
                 {"error_cqes", nic_.error_cqes},
                 {"bytes_moved", nic_.bytes_moved}};
  root["digest"] =
      o.check && error_.empty() ? Json(fmt::format("{:016x}", digest_)) : Json(nullptr);
  root["first_difference"] = first_wrong_.empty() ? Json(nullptr) : Json(first_wrong_);
  root["error"] = error_.empty() ? Json(nullptr) : Json(error_);
  root["ok"] = ok();
  return root;
}

}  // namespace ringer::tools
