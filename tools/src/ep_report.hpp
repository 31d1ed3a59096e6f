// SPDX-License-Identifier: Apache-2.0
// What a run of `ringer ep` found, as a table for people and as JSON.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "ep_request.hpp"
#include "ep_runner.hpp"

namespace ringer::tools {

/// Times of one phase over the timed iterations.
struct PhaseStatistics {
  double min_us = 0;
  double max_us = 0;
  double sum_us = 0;
  uint32_t count = 0;
  void add(double us);
  double average_us() const { return count == 0 ? 0 : sum_us / count; }
};

/// One line of the table. Parts of an operation carry neither bandwidth nor wrong count.
struct ReportRow {
  std::string op;
  std::string dtype;
  bool whole = true;
  uint64_t bytes = 0;  ///< per rank and iteration, mean
  PhaseStatistics times;
  uint64_t wrong = 0;
  double algbw_gbps() const {
    return times.sum_us <= 0 ? 0 : static_cast<double>(bytes) / times.average_us() / 1e3;
  }
};

/// Adds up iterations; warm-up counts for correctness, not for times.
class EpReport {
 public:
  explicit EpReport(const EpRequest& request);

  void add(const EpIteration& iteration, bool timed);
  /// What stands once the group exists and what stands when it is done.
  void describe(const EpGroup& group);
  void finish(EpGroup& group);
  /// The run ended before its end, for this reason.
  void fail(const std::string& reason) { error_ = reason; }

  bool ok() const { return error_.empty() && wrong_dispatch_ + wrong_combine_ == 0; }
  const std::string& first_wrong() const { return first_wrong_; }
  const std::string& error() const { return error_; }  ///< why the run ended early, or empty

  /// Header: everything known before the first iteration.
  std::string header() const;
  /// Table and footer. The last line is the verdict.
  std::string results() const;
  nlohmann::ordered_json json() const;

 private:
  std::vector<ReportRow> rows() const;
  uint64_t mean(uint64_t sum) const { return timed_ == 0 ? 0 : sum / timed_; }

  const EpRequest& request_;
  uint32_t queue_pairs_ = 0;
  std::string paths_;
  std::string backend_;  ///< what it says of itself
  std::string path_summary_;
  std::vector<std::vector<std::string>> path_matrix_;
  NicTotals nic_{};
  uint32_t timed_ = 0;
  PhaseStatistics dispatch_, dispatch_send_, dispatch_receive_;
  PhaseStatistics combine_, combine_send_, combine_receive_;
  uint64_t dispatch_bytes_ = 0;
  uint64_t combine_bytes_ = 0;
  uint64_t wrong_dispatch_ = 0;
  uint64_t wrong_combine_ = 0;
  uint64_t digest_ = 0;
  std::string first_wrong_;
  std::string error_;
};

}  // namespace ringer::tools
