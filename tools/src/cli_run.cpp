// SPDX-License-Identifier: Apache-2.0
// `ringer run`: a command that finds emulated HCAs where it looks for real ones.
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ringer/sim/packet_capture.hpp>
#include <ringer/sim/verbs_host.hpp>
#include <ringer/sim/verbs_identity.hpp>

#include "bench_settings.hpp"
#include "cli.hpp"
#include "device_tree.hpp"
#include "routing.hpp"
#include "settings.hpp"

namespace ringer::tools {

namespace {

namespace fs = std::filesystem;

constexpr const char* kLibrary = "libringer_verbs_device.so";
constexpr const char* kLibraryVariable = "RINGER_VERBS_LIBRARY";
constexpr const char* kPreloadVariable = "LD_PRELOAD";

constexpr std::array kRelayed = {SIGINT, SIGTERM, SIGHUP};

// As a shell says it.
constexpr int kExitCannotRun = 126;
constexpr int kExitNotFound = 127;
constexpr int kExitSignal = 128;

// Where a build has the library, and where an installation does, seen from this program.
fs::path find_library() {
  const char* named = std::getenv(kLibraryVariable);
  if (named != nullptr && *named != '\0') {
    if (!fs::exists(named)) {
      throw UsageError(fmt::format("{}: there is no '{}'", kLibraryVariable, named));
    }
    return fs::absolute(named);
  }
  const fs::path here = fs::read_symlink("/proc/self/exe").parent_path();
  for (const fs::path& folder : {here / "../sim/verbs", here / ".." / RINGER_LIBRARY_FOLDER}) {
    if (fs::exists(folder / kLibrary)) return fs::canonical(folder / kLibrary);
  }
  throw BackendError(
      fmt::format("{} is not beside this program; {} can name it", kLibrary, kLibraryVariable));
}

void set_variable(const char* name, const std::string& value) { setenv(name, value.c_str(), 1); }

void preload(const fs::path& library) {
  const std::string path = library.string();
  if (path.find_first_of(" :") != std::string::npos) {
    throw BackendError(fmt::format("{} cannot hold the path '{}'", kPreloadVariable, path));
  }
  const char* before = std::getenv(kPreloadVariable);
  const bool some = before != nullptr && *before != '\0';
  set_variable(kPreloadVariable, some ? path + ":" + before : path);
}

/// The signals that SignalRelay passes on are blocked until end(), or the end.
class SignalsWait {
 public:
  SignalsWait() {
    sigset_t relayed;
    sigemptyset(&relayed);
    for (const int number : kRelayed) sigaddset(&relayed, number);
    sigprocmask(SIG_BLOCK, &relayed, &before_);
  }
  ~SignalsWait() { end(); }
  SignalsWait(const SignalsWait&) = delete;
  SignalsWait& operator=(const SignalsWait&) = delete;
  void end() const { sigprocmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_{};
};

/// While it lives, signals that are sent to this process go on to the command.
class SignalRelay {
 public:
  explicit SignalRelay(pid_t command) {
    command_ = command;
    struct sigaction relay = {};
    relay.sa_sigaction = pass_on;
    relay.sa_flags = SA_SIGINFO | SA_RESTART;
    for (size_t i = 0; i < kRelayed.size(); ++i) sigaction(kRelayed[i], &relay, &before_[i]);
  }
  ~SignalRelay() {
    for (size_t i = 0; i < kRelayed.size(); ++i) sigaction(kRelayed[i], &before_[i], nullptr);
  }
  SignalRelay(const SignalRelay&) = delete;
  SignalRelay& operator=(const SignalRelay&) = delete;

 private:
  // What the terminal sends, it sends to the command as well.
  static void pass_on(int number, siginfo_t* info, void*) {
    if (info->si_code != SI_KERNEL) kill(command_, number);
  }

  static inline volatile pid_t command_ = 0;
  std::array<struct sigaction, kRelayed.size()> before_{};
};

// Whoever is killed in its stead should not leave it running.
void end_with_parent(pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) raise(SIGTERM);  // it has been killed already
}

// Does not return.
void become(std::vector<std::string>& words) {
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  execvp(arguments[0], arguments.data());
  const int error = errno;
  fmt::print(stderr, "ringer: cannot run '{}': {}\n{}\n", words[0], std::strerror(error),
             "name a program that is on the path, or one by its path");
  _exit(error == ENOENT ? kExitNotFound : kExitCannotRun);
}

int wait_for(pid_t command) {
  int status = 0;
  while (waitpid(command, &status, 0) < 0) {
    if (errno != EINTR) throw std::system_error(errno, std::generic_category(), "waitpid");
  }
  return WIFSIGNALED(status) ? kExitSignal + WTERMSIG(status) : WEXITSTATUS(status);
}

class RunCommand : public Command {
 public:
  explicit RunCommand(CLI::App& app)
      : Command(app, "run", "Run a command that finds emulated HCAs", "RINGER_") {
    settings_.add("devices", "N", "1", "HCAs, mlx5_0 and up: 1 to 32", "Devices");
    settings_.add("ports", "N", "1", "Ports of each: 1 to 4", "Devices");
    settings_.add("link", "LAYER", "infiniband", "infiniband, or ethernet for RoCE v2", "Devices");
    settings_.add("capture", "FILE", "", "Packets that COMMAND sends, as RoCE v2 in pcapng",
                  "Devices");
    settings_.allow_extras();
    settings_.footer(
        "Programs that use libibverbs find ConnectX HCAs, which the software NIC emulates inside\n"
        "their processes. Exit code: the command's; 128 and up for a signal, 127 if there is no\n"
        "such command, 126 if it cannot be run.");
  }
  void take_rest(const std::vector<std::string>& words) override { command_ = words; }

  int run(Processes& processes) override {
    if (processes.exchange() != nullptr) {
      throw UsageError("mpirun goes inside: ringer run -- mpirun -n N COMMAND");
    }
    if (const auto extras = settings_.extras(); !extras.empty()) {
      throw UsageError(
          extras[0].starts_with('-')
              ? fmt::format("run has no option {}; the command goes behind --", extras[0])
              : fmt::format("'{}': the command goes behind --", extras[0]));
    }
    if (command_.empty()) throw UsageError("a command to run is required, after --");
    const uint32_t devices = settings_.get("devices").number32(1, sim::VerbsHost::kMaxNics);
    const uint32_t ports = settings_.get("ports").number32(1, sim::VerbsHost::kMaxPorts);
    const auto link = settings_.get("link").one_of<sim::LinkLayer>(
        {{"infiniband", sim::LinkLayer::infiniband},
         {sim::verbs::kEthernetName, sim::LinkLayer::ethernet}});
    if (const std::string file = settings_.get("capture").text(); !file.empty()) {
      sim::begin_capture(file);
      set_variable(sim::verbs::kCaptureVariable, fs::absolute(file).string());
    }
    // From the first file on nothing may be left behind: signals wait until they can be passed on.
    const SignalsWait waits;
    const DeviceTree tree(devices, ports, link);
    preload(find_library());
    set_variable(sim::verbs::kRootVariable, tree.root().string());
    set_variable(sim::verbs::kDevicesVariable, std::to_string(devices));
    set_variable(sim::verbs::kPortsVariable, std::to_string(ports));
    set_variable(sim::verbs::kLinkVariable, settings_.get("link").text());
    flush_stdout();
    const pid_t self = getpid();
    const pid_t command = fork();
    if (command < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (command == 0) {
      waits.end();
      end_with_parent(self);
      become(command_);
    }
    const SignalRelay relay(command);
    waits.end();
    return wait_for(command);
  }

 private:
  std::vector<std::string> command_;
};

}  // namespace

std::unique_ptr<Command> add_run_command(CLI::App& app) {
  return std::make_unique<RunCommand>(app);
}

}  // namespace ringer::tools
