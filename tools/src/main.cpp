// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <system_error>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <ringer/control_plane.hpp>

#include "cli.hpp"
#include "p2p_launcher.hpp"
#include "processes.hpp"
#include "routing.hpp"
#include "together.hpp"

namespace ringer::tools {

namespace {

std::string one_line(const std::string& text) {
  std::string line;
  for (const char c : text) line += c == '\n' || c == '\r' ? ' ' : c;
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

/// CLI11 shows how a negated flag is stored; nobody needs to know.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_option_name(const CLI::Option* option, bool is_positional) const override {
    const std::string kStored = "{false}";
    std::string name = CLI::Formatter::make_option_name(option, is_positional);
    const size_t at = name.find(kStored);
    return at == std::string::npos ? name : name.erase(at, kStored.size());
  }
  std::string make_usage(const CLI::App* app, std::string name) const override {
    std::string usage = CLI::Formatter::make_usage(app, name);
    if (app->get_name() != "run") return usage;
    usage.erase(usage.find_last_not_of('\n') + 1);
    return usage + " -- COMMAND [ARGUMENTS]\n";
  }
};

/// An exit code and two lines for people.
struct Complaint {
  int exit_code;
  std::string cause;
  std::string advice;
};

// About the exception that is being handled.
Complaint current_complaint(const std::string& help) {
  try {
    throw;
  } catch (const UsageError& e) {
    return {kExitUsage, e.what(), help};
  } catch (const std::invalid_argument& e) {
    return {kExitUsage, e.what(), help};
  } catch (const BackendError& e) {
    return {kExitEnvironment, e.what(), "run 'ringer info' to see what this machine can run"};
  } catch (const std::bad_alloc&) {
    return {kExitEnvironment, "out of memory", "try a smaller shape"};
  } catch (const std::system_error& e) {
    return {kExitEnvironment, e.what(), "the run is over; make room for its result"};
  } catch (const BenchFailure& e) {
    return {kExitFailed, e.what(), "what was measured did not come through"};
  } catch (const std::exception& e) {
    return {kExitFailed, std::string("internal error: ") + e.what(),
            "please report this with the command line"};
  }
}

int complain(const Complaint& complaint) {
  fmt::print(stderr, "ringer: {}\n{}\n", one_line(complaint.cause), complaint.advice);
  return complaint.exit_code;
}

// "try 'ringer bench ep --help'", as far as subcommands were named.
std::string ask_help(const CLI::App& app) {
  std::string path = "ringer";
  for (auto named = app.get_subcommands(); !named.empty(); named = named[0]->get_subcommands()) {
    path += " " + named[0]->get_name();
  }
  return "try '" + path + " --help'";
}

/// The command line, and what it can name.
class Ringer {
 public:
  Ringer() : app_("GPU-initiated RDMA, simulation first", "ringer") {
    app_.set_version_flag("--version", std::string("ringer ") + kVersion);
    app_.require_subcommand(1);
    const auto formatter = std::make_shared<HelpFormatter>();
    formatter->column_width(30);
    app_.formatter(formatter);
    CLI::App* bench = app_.add_subcommand("bench", "Measure one thing, and check what it did");
    bench->require_subcommand(1);
    commands_.push_back(add_ep_command(app_));
    commands_.push_back(add_bench_ep_command(*bench));
    commands_.push_back(add_bench_post_command(*bench));
    commands_.push_back(add_bench_put_bw_command(*bench));
    commands_.push_back(add_bench_ping_pong_command(*bench));
    commands_.push_back(add_info_command(app_));
    commands_.push_back(add_doctor_command(app_));
    commands_.push_back(add_explore_command(app_));
    commands_.push_back(add_run_command(app_));
    app_.footer("Exit codes: 0 ok, 1 a check failed, 2 bad usage, 3 cannot run here.");
  }

  int run(int argc, char** argv, Processes& processes) {
    Command* chosen = nullptr;
    together(processes.exchange(), [&] { chosen = parse(argc, argv, processes.speaks()); });
    return chosen == nullptr ? int{kExitOk} : chosen->run(processes);
  }

  std::string ask_help() const { return tools::ask_help(app_); }

 private:
  // Null if the answer was help or the version. Throws UsageError.
  Command* parse(int argc, char** argv, bool speaks) {
    char** const end = std::find_if(argv, argv + argc,
                                    [](const char* word) { return std::strcmp(word, "--") == 0; });
    const std::vector<std::string> trailing(end == argv + argc ? end : end + 1, argv + argc);
    try {
      app_.parse(static_cast<int>(end - argv), argv);
    } catch (const CLI::Success& e) {
      if (speaks) app_.exit(e);
      flush_stdout();
      return nullptr;
    } catch (const CLI::RequiredError& e) {
      const auto rest = app_.remaining();
      throw UsageError(rest.empty() ? e.what() : "there is no subcommand '" + rest[0] + "'");
    } catch (const CLI::ParseError& e) {
      throw UsageError(e.what());
    }
    const auto chosen = std::find_if(commands_.begin(), commands_.end(),
                                     [](const auto& command) { return command->chosen(); });
    if (end != argv + argc) (*chosen)->take_rest(trailing);
    return chosen->get();
  }

  CLI::App app_;
  std::vector<std::unique_ptr<Command>> commands_;
};

int run(int argc, char** argv) {
  Ringer ringer;
  const auto processes = join_processes();
  try {
    return ringer.run(argc, argv, *processes);
  } catch (const std::exception& error) {
    const Complaint complaint = current_complaint(ringer.ask_help());
    const bool shared = dynamic_cast<const SharedMark*>(&error) != nullptr;
    if (processes->speaks() || !shared) complain(complaint);
    if (!shared) processes->abort(complaint.exit_code);  // the others may wait for this one
    return complaint.exit_code;
  }
}

}  // namespace

void Command::take_rest(const std::vector<std::string>&) {
  throw UsageError("nothing may follow --");
}

void flush_stdout() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    throw std::system_error(errno, std::generic_category(), "cannot write to stdout");
  }
}

}  // namespace ringer::tools

int main(int argc, char** argv) {
  using namespace ringer::tools;
  try {
    return run(argc, argv);
  } catch (const std::exception&) {
    return complain(current_complaint("try 'ringer --help'"));
  }
}
