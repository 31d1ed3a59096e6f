// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <cstdio>
#include <optional>
#include <system_error>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "cli.hpp"
#include "ep_report.hpp"
#include "ep_request.hpp"
#include "processes.hpp"
#include "settings.hpp"

namespace ringer::tools {

namespace {

/// A line on stderr for whoever waits at a terminal; nothing for logs and short runs.
class Progress {
 public:
  Progress(uint64_t total, bool visible)
      : total_(total), on_terminal_(visible && isatty(STDERR_FILENO) != 0) {}
  ~Progress() {
    if (shown_) fmt::print(stderr, "\r\033[K");
  }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void show(uint64_t done) {
    constexpr size_t kWidth = 30;
    const auto now = Clock::now();
    if (!on_terminal_ || now < next_) return;
    next_ = now + std::chrono::milliseconds(200);
    shown_ = true;
    const size_t filled = static_cast<size_t>(done * kWidth / total_);
    fmt::print(stderr, "\r[{:<{}}] {}/{}", std::string(filled, '='), kWidth, done, total_);
    std::fflush(stderr);
  }

 private:
  using Clock = std::chrono::steady_clock;
  uint64_t total_;
  bool on_terminal_;
  bool shown_ = false;
  Clock::time_point next_ = Clock::now() + std::chrono::seconds(1);
};

class EpCommand : public Command {
 public:
  explicit EpCommand(CLI::App& app)
      : Command(app, "ep", "Run and check expert-parallel dispatch and combine", "RINGER_EP_") {
    declare_ep_settings(settings_);
    settings_.footer(
        "Below each option stands the environment variable that sets it, too; the command line "
        "wins.\nFlags take 1, 0, true, false, yes, no, on or off from their variable.");
  }

  int run(Processes& processes) override {
    const PreparedRequest prepared = prepare_request(settings_, processes, [](const auto&) {});
    const EpRequest& request = prepared.request;
    EpReport report(request);
    EpGroup group(request.options);
    report.describe(group);
    if (processes.speaks() && request.json != "-") emit(report.header());
    try {
      iterate(request, group, report, processes.speaks());
    } catch (const EpFailure& e) {
      report.fail(e.what());
    }
    report.finish(group);
    if (processes.speaks()) tell(report, prepared);
    return report.ok() ? kExitOk : kExitFailed;
  }

 private:
  static void tell(const EpReport& report, const PreparedRequest& prepared) {
    const EpRequest& request = prepared.request;
    if (!report.error().empty()) {
      fmt::print(stderr, "ringer: {}\n", first_line(report.error()));
    }
    try {
      emit(request.json != "-" ? report.results() : text_of(report));
      if (prepared.json) prepared.json->write(text_of(report));
    } catch (const std::system_error& e) {
      if (report.ok()) throw;  // else the failed check is what the exit code must say
      fmt::print(stderr, "ringer: {}\n", e.what());
    }
    if (report.ok()) return;
    if (!report.first_wrong().empty()) {
      fmt::print(stderr, "ringer: wrong result: {}\n", report.first_wrong());
    }
    const bool alone = request.options.processes == nullptr;
    fmt::print(stderr, "{}\n",
               request.options.deterministic ? "the same command line repeats this exactly"
               : alone ? "try the same with --deterministic, which repeats exactly"
                       : "try the same in one process with --deterministic, which repeats exactly");
  }

  static void iterate(const EpRequest& request, EpGroup& group, EpReport& report, bool visible) {
    const uint64_t total = uint64_t{request.warmup} + request.iterations;
    Progress progress(total, visible);
    for (uint64_t i = 0; i < total; ++i) {
      report.add(group.iterate(i), i >= request.warmup);
      progress.show(i + 1);
    }
  }

  static std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

  static std::string text_of(const EpReport& report) {
    return report.json().dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  }

  static void emit(const std::string& text) {
    fmt::print("{}", text);
    flush_stdout();
  }
};

}  // namespace

std::unique_ptr<Command> add_ep_command(CLI::App& app) { return std::make_unique<EpCommand>(app); }

}  // namespace ringer::tools
