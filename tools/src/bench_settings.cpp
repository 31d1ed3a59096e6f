// SPDX-License-Identifier: Apache-2.0
#include "bench_settings.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "routing.hpp"

namespace ringer::tools {

namespace {
constexpr uint32_t kLargestBytes = 1u << 23;
}

void require_alone(Processes& processes) {
  if (processes.exchange() != nullptr && processes.exchange()->ranks() > 1) {
    throw UsageError("this benchmark runs in one process");
  }
}

void declare_bench_settings(Settings& settings) {
  settings.add("device", "WHERE", "host", "Where kernels run: host (fibers), cuda (a GPU)", "Run");
  settings.add("json", "FILE", "", "Also write the result as JSON; '-': stdout, no table",
               "Output");
}

BenchDevice read_device(const Settings& settings) {
  return settings.get("device").one_of<BenchDevice>(
      {{"host", BenchDevice::host}, {"cuda", BenchDevice::cuda}});
}

void declare_record_setting(Settings& settings, const std::string& group) {
  settings.add("record", "WHEN", "before", "Doorbell record and doorbell: before, trailing", group);
}

RecordOrder read_record(const Settings& settings) {
  return settings.get("record").one_of<RecordOrder>(
      {{"before", RecordOrder::before_doorbell}, {"trailing", RecordOrder::trailing}});
}

BenchOutput::BenchOutput(const Settings& settings)
    : text_(settings.get("json").text()), file_(open_output(settings.get("json"))) {}

void BenchOutput::title(const char* bench, const Settings& settings) const {
  if (!table()) return;
  fmt::print("# ringer {} bench {}: device {}\n", kVersion, bench, settings.get("device").text());
}

int BenchOutput::finish(const nlohmann::ordered_json& json, bool ok) const {
  if (table()) {
    fmt::print("RESULT {}\n", ok ? "OK" : "FAILED");
  } else {
    fmt::print("{}\n", json.dump(2));
  }
  flush_stdout();
  if (file_) file_->write(json.dump(2) + "\n");
  return ok ? kExitOk : kExitFailed;
}

uint32_t read_ring_wqebbs(const Settings& settings) {
  const Setting depth = settings.get("ring-wqebbs");
  const uint32_t wqebbs = depth.number32(2, mlx5::Wire::kMaxSqWqebbs);
  if ((wqebbs & (wqebbs - 1)) != 0) depth.reject("must be a power of two");
  return wqebbs;
}

std::vector<uint32_t> read_sizes(const Settings& settings) {
  const Setting size = settings.get("size");
  if (!settings.get("all").boolean()) return {size.number32(1, kLargestBytes)};
  if (size.given()) size.reject("--all takes every size");
  std::vector<uint32_t> sizes;
  for (uint32_t bytes = 2; bytes <= kLargestBytes; bytes *= 2) sizes.push_back(bytes);
  return sizes;
}

}  // namespace ringer::tools
