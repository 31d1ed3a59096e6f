// SPDX-License-Identifier: Apache-2.0
// `ringer explore`: what can happen to the ring, in every order and with every old value that the
// memory model allows.
#include <chrono>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "bench_settings.hpp"
#include "cli.hpp"
#include "explore_request.hpp"

namespace ringer::tools {

namespace {

using sim::ExploreResult;
using sim::Program;

constexpr uint64_t kDrawn = 10'000;
constexpr uint64_t kPctDepth = 200;  // steps among which priorities change

ExploreResult search(const ExploreRequest& request, const Program& program) {
  const uint64_t all = request.budget == 0 ? ~uint64_t{0} : request.budget;
  const uint64_t drawn = request.budget == 0 ? kDrawn : request.budget;
  switch (request.mode) {
    case SearchMode::exhaustive:
      return explore_all(program, all);
    case SearchMode::stateless:
      return explore_stateless(program, all);
    case SearchMode::bounded:
      return explore_bounded(program, request.bound, all);
    case SearchMode::pct:
      return explore_pct(program, request.seed, drawn, request.changes, kPctDepth);
    case SearchMode::random:
      break;
  }
  return explore_random(program, request.seed, drawn);
}

class ExploreCommand : public Command {
 public:
  explicit ExploreCommand(CLI::App& app)
      : Command(app, "explore", "Explore executions of the ring protocol", "RINGER_EXPLORE_") {
    declare_explore_settings(settings_);
    settings_.add_flag("list", false, "Print the names of scenarios and mutants", "Output");
    settings_.add_flag("matrix", false, "Weaken everything, one at a time, and print what finds it",
                       "Output");
    settings_.add("json", "FILE", "", "Result as JSON; - for stdout", "Output", "none");
    settings_.footer(
        "Prints executions (to an end, or to a state met before), how many of them were the\n"
        "latter or waited for a store that never came (blocked), the steps of the longest one, "
        "and\n"
        "whether that is all there is (complete). Exits with 1 if an execution fails.");
  }

  int run(Processes& processes) override {
    require_alone(processes);
    const bool lists = settings_.get("list").boolean();
    const bool matrix_wanted = settings_.get("matrix").boolean();
    if (!lists && !matrix_wanted) return explore();
    const Setting json = settings_.get("json");
    if (json.given()) json.reject("--list and --matrix print text only");
    return lists ? list() : matrix();
  }

 private:
  static int list() {
    fmt::print("scenario ring\n");
    for (const sim::Entry& entry : sim::catalogue()) fmt::print("scenario {}\n", entry.name);
    for (const sim::Mutation& mutation : sim::all_mutations()) {
      fmt::print("mutant {}\n", mutation.name);
    }
    flush_stdout();
    return kExitOk;
  }

  static int matrix() {
    fmt::print("| mutant | scenario | executions | what is seen |\n|---|---|--:|---|\n");
    uint64_t missed = 0;
    for (const sim::MatrixRow& row : sim::mutation_matrix()) {
      missed += row.scenario.empty();
      fmt::print("| `{}` | {} | {} | {} |\n", row.mutation.name,
                 row.scenario.empty() ? "none" : row.scenario, row.result.executions,
                 row.result.failure);
    }
    fmt::print("RESULT {}\n", missed == 0 ? "OK" : "FAILED");
    flush_stdout();
    return missed == 0 ? kExitOk : kExitFailed;
  }

  int explore() {
    const std::optional<OutputFile> file = open_output(settings_.get("json"));
    const bool to_stdout = settings_.get("json").text() == "-";
    ExploreRequest request = read_explore_request(settings_);
    Program& program = request.program->program();
    if (request.mutation) program.mutation = &*request.mutation;
    const auto begun = std::chrono::steady_clock::now();
    ExploreResult result =
        request.replay.empty() ? search(request, program) : replay(request, program);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
    std::vector<std::string> trace;
    if (!result.failure.empty()) result.schedule = shorten(program, result.schedule);
    if (!result.failure.empty() || !request.replay.empty()) {
      const std::string way = result.failure.empty() ? request.replay : result.schedule;
      const std::string shown = sim::replay(program, way, &trace).failure;
      // A shorter way may differ in the details.
      if (!shown.empty()) result.failure = shown;
    }
    const std::string again = result.failure.empty() ? "" : replay_line(request, result.schedule);
    if (!to_stdout) print(request, result, trace, again, took.count());
    const std::string json = to_json(request, result, trace, again, took.count()).dump(2) + "\n";
    if (to_stdout) fmt::print("{}", json);
    flush_stdout();
    if (file) file->write(json);
    return result.failure.empty() ? kExitOk : kExitFailed;
  }

  ExploreResult replay(const ExploreRequest& request, const Program& program) const {
    try {
      return sim::replay(program, request.replay);
    } catch (const std::invalid_argument& e) {
      settings_.get("replay").reject(e.what());
    }
  }

  static std::string replay_line(const ExploreRequest& request, const std::string& schedule) {
    return fmt::format("ringer explore --scenario {}{}{} --replay {}", request.scenario,
                       request.description,
                       request.mutation ? " --mutant " + request.mutation->name : "", schedule);
  }

  static bool takes_all(const ExploreRequest& request) {
    return request.mode == SearchMode::exhaustive || request.mode == SearchMode::stateless;
  }

  // All of what was asked for is all there is only where nothing was left out.
  static bool is_proof(const ExploreRequest& request, const ExploreResult& result) {
    return takes_all(request) && request.replay.empty() && result.complete;
  }

  static void print(const ExploreRequest& request, const ExploreResult& result,
                    const std::vector<std::string>& trace, const std::string& again,
                    double seconds) {
    fmt::print("executions={} blocked={} max_depth={} complete={}\n", result.executions,
               result.blocked, result.max_depth, is_proof(request, result) ? "yes" : "no");
    if (request.mode == SearchMode::bounded && request.replay.empty()) {
      fmt::print("# within {} surprises: {}\n", request.bound, result.complete ? "all" : "not all");
    }
    if (takes_all(request) && !result.complete && again.empty()) {
      fmt::print("# the budget ended before the executions did\n");
    }
    fmt::print("# {:.2f} s, {:.0f} executions a second, hash {:016x}\n", seconds,
               static_cast<double>(result.executions) / seconds, result.hash);
    if (result.whole > 0) {
      fmt::print("# they stand for {:.4g} whole executions, {:.3g} a second\n", result.whole,
                 result.whole / seconds);
    }
    for (const std::string& line : trace) fmt::print("{}\n", line);
    if (!again.empty()) fmt::print("FAILED: {}\nreplay: {}\n", result.failure, again);
    fmt::print("RESULT {}\n", again.empty() ? "OK" : "FAILED");
  }

  static nlohmann::ordered_json to_json(const ExploreRequest& request, const ExploreResult& result,
                                        const std::vector<std::string>& trace,
                                        const std::string& again, double seconds) {
    nlohmann::ordered_json json = {{"schema", 1},
                                   {"scenario", request.scenario},
                                   {"mutant", request.mutation ? request.mutation->name : ""},
                                   {"executions", result.executions},
                                   {"blocked", result.blocked},
                                   {"max_depth", result.max_depth},
                                   {"complete", is_proof(request, result)},
                                   {"as_asked", result.complete},
                                   {"hash", fmt::format("{:016x}", result.hash)},
                                   {"seconds", seconds},
                                   {"ok", again.empty()}};
    if (result.whole > 0) json["whole"] = result.whole;
    if (!again.empty()) {
      json["failure"] = result.failure;
      json["schedule"] = result.schedule;
      json["replay"] = again;
    }
    if (!trace.empty()) json["trace"] = trace;
    return json;
  }
};

}  // namespace

std::unique_ptr<Command> add_explore_command(CLI::App& app) {
  return std::make_unique<ExploreCommand>(app);
}

}  // namespace ringer::tools
