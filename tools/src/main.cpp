// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <new>
#include <stdexcept>
#include <system_error>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <ringer/control_plane.hpp>

#include "cli.hpp"
#include "routing.hpp"

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
};

int complain(int exit_code, const std::string& cause, const std::string& advice) {
  fmt::print(stderr, "ringer: {}\n{}\n", one_line(cause), advice);
  return exit_code;
}

// What `run` throws, as an exit code and two lines for people.
int run(Command& command, const std::string& help) {
  const std::string kAskInfo = "run 'ringer info' to see what this machine can run";
  try {
    return command.run();
  } catch (const UsageError& e) {
    return complain(kExitUsage, e.what(), help);
  } catch (const std::invalid_argument& e) {
    return complain(kExitUsage, e.what(), help);
  } catch (const BackendError& e) {
    return complain(kExitEnvironment, e.what(), kAskInfo);
  } catch (const std::bad_alloc&) {
    return complain(kExitEnvironment, "out of memory", "try a smaller shape");
  } catch (const std::system_error& e) {
    return complain(kExitEnvironment, e.what(), "the run is over; make room for its result");
  } catch (const std::exception& e) {
    return complain(kExitFailed, std::string("internal error: ") + e.what(),
                    "please report this with the command line");
  }
}

// "try 'ringer bench ep --help'", as far as subcommands were named.
std::string ask_help(const CLI::App& app) {
  std::string path = "ringer";
  for (auto named = app.get_subcommands(); !named.empty(); named = named[0]->get_subcommands()) {
    path += " " + named[0]->get_name();
  }
  return "try '" + path + " --help'";
}

int parse_and_run(int argc, char** argv) {
  CLI::App app("GPU-initiated RDMA, simulation first", "ringer");
  app.set_version_flag("--version", std::string("ringer ") + kVersion);
  app.require_subcommand(1);
  const auto formatter = std::make_shared<HelpFormatter>();
  formatter->column_width(30);
  app.formatter(formatter);
  CLI::App* bench = app.add_subcommand("bench", "Measure one thing, and check what it did");
  bench->require_subcommand(1);
  std::vector<std::unique_ptr<Command>> commands;
  commands.push_back(add_ep_command(app));
  commands.push_back(add_bench_ep_command(*bench));
  commands.push_back(add_bench_post_command(*bench));
  commands.push_back(add_bench_put_bw_command(*bench));
  commands.push_back(add_bench_ping_pong_command(*bench));
  commands.push_back(add_info_command(app));
  app.footer("Exit codes: 0 ok, 1 a check failed, 2 bad usage, 3 cannot run here.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& e) {
    app.exit(e);
    flush_stdout();
    return kExitOk;
  } catch (const CLI::RequiredError& e) {
    const auto rest = app.remaining();
    const std::string cause = rest.empty() ? e.what() : "there is no subcommand '" + rest[0] + "'";
    return complain(kExitUsage, cause, "try 'ringer --help'");
  } catch (const CLI::ParseError& e) {
    return complain(kExitUsage, e.what(), ask_help(app));
  }
  const auto chosen = std::find_if(commands.begin(), commands.end(),
                                   [](const auto& command) { return command->chosen(); });
  return run(**chosen, ask_help(app));
}

}  // namespace

void flush_stdout() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    throw std::system_error(errno, std::generic_category(), "cannot write to stdout");
  }
}

}  // namespace ringer::tools

int main(int argc, char** argv) {
  try {
    return ringer::tools::parse_and_run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "ringer: %s\n", e.what());
    return ringer::tools::kExitEnvironment;
  }
}
