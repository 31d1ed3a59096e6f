// SPDX-License-Identifier: Apache-2.0
#include "process.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include <pthread.h>
#include <rdma/rdma_user_ioctl_cmds.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <ringer/control_plane.hpp>
#include <ringer/sim/verbs_identity.hpp>

#include "context.hpp"
#include "real.hpp"

namespace ringer::sim::verbs {

namespace {

uint32_t from_environment(const char* variable, uint32_t most) {
  const char* text = std::getenv(variable);
  const unsigned long value = text == nullptr ? 1 : std::strtoul(text, nullptr, 10);
  return static_cast<uint32_t>(std::clamp<unsigned long>(value, 1, most));
}

LinkLayer link_from_environment() {
  const char* text = std::getenv(kLinkVariable);
  const bool ethernet = text != nullptr && std::string_view(text) == kEthernetName;
  return ethernet ? LinkLayer::ethernet : LinkLayer::infiniband;
}

/// A context. In a child of fork() it may be one that the parent has opened: its descriptors still
/// are those of a device, but little works on them.
struct OpenDevice {
  bool works() const { return !context->inherited(); }
  uint32_t number = 0;
  std::shared_ptr<Context> context;
};

struct Process {
  // A descriptor may be closed while another is being opened, by the same thread.
  std::recursive_mutex mutex;
  pid_t owner = getpid();
  std::unique_ptr<VerbsHost> host;
  std::vector<std::unique_ptr<Device>> devices;
  std::map<FileId, OpenDevice> open;
  bool watches_fork = false;

  // Never destroyed: threads may use it until the very end.
  static Process& get() {
    static Process* const process = new Process;
    return *process;
  }

  void start();
  void drive_while_open();
  OpenDevice* find(const FileId& id) {
    const auto found = open.find(id);
    return found == open.end() ? nullptr : &found->second;
  }
};

void before_fork() {
  Process& process = Process::get();
  process.mutex.lock();
  for (auto& [id, device] : process.open) device.context->before_fork();
}

void after_fork_in_parent() {
  Process& process = Process::get();
  for (auto& [id, device] : process.open) device.context->after_fork_in_parent();
  process.mutex.unlock();
}

// The NICs and their thread are the parent's. What points to them is never destroyed.
void after_fork_in_child() {
  Process& process = Process::get();
  process.owner = getpid();
  driven_host = nullptr;
  if (VerbsHost* host = process.host.release()) host->abandon();
  for (auto& device : process.devices) static_cast<void>(device.release());
  process.devices.clear();
  for (auto& [id, device] : process.open) {
    static_cast<void>(new std::shared_ptr<Context>(device.context));
    device.context->after_fork_in_child();
  }
  // Locked by a thread that the child does not have: not even its own number is the same.
  new (&process.mutex) std::recursive_mutex;
}

void Process::start() {
  if (host != nullptr) return;
  if (!std::exchange(watches_fork, true)) {
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
  }
  const uint32_t count = from_environment(kDevicesVariable, VerbsHost::kMaxNics);
  const uint32_t ports = from_environment(kPortsVariable, VerbsHost::kMaxPorts);
  host = std::make_unique<VerbsHost>(count, std::getenv(kCaptureVariable));
  for (uint32_t number = 0; number < count; ++number) {
    const DeviceModel model{number, ports, link_from_environment()};
    devices.push_back(std::make_unique<Device>(host->nic(number), model));
  }
}

void Process::drive_while_open() {
  open_devices = static_cast<uint32_t>(open.size());
  const bool works =
      std::any_of(open.begin(), open.end(), [](const auto& entry) { return entry.second.works(); });
  driven_host = works ? host.get() : nullptr;
}

int fail(int error) {
  errno = error;
  return -1;
}

}  // namespace

int open_device(uint32_t number) {
  Process& process = Process::get();
  const std::lock_guard lock(process.mutex);
  try {
    process.start();
    if (number >= process.devices.size()) return fail(ENXIO);
    const std::string name = "uverbs" + std::to_string(number);
    const auto context = std::make_shared<Context>(*process.devices[number], name.c_str());
    const int fd = context->bar.take_fd();
    process.open[context->bar.id()] = {number, context};
    process.drive_while_open();
    return fd;
  } catch (const VerbsError& error) {
    return fail(error.code());
  } catch (const BackendError&) {
    return fail(ENODEV);
  } catch (const std::exception&) {
    return fail(ENOMEM);
  }
}

std::optional<int> control_device(int fd, ib_uverbs_ioctl_hdr& header) {
  if (open_devices.load(std::memory_order_relaxed) == 0) return std::nullopt;
  const auto id = file_id(fd);
  if (!id) return std::nullopt;
  std::shared_ptr<Context> context;
  {
    Process& process = Process::get();
    const std::lock_guard lock(process.mutex);
    const OpenDevice* device = process.find(*id);
    if (device == nullptr) return std::nullopt;
    context = device->context;
  }
  const int error = context->control(header);
  return error == 0 ? 0 : fail(error);
}

void disguise_as(uint32_t number, struct stat& status) {
  status.st_mode = S_IFCHR | 0666;
  status.st_rdev = makedev(kCharMajor, kFirstCharMinor + number);
  status.st_size = 0;
}

void disguise(struct stat& status) {
  if (open_devices.load(std::memory_order_relaxed) == 0 || !S_ISREG(status.st_mode)) return;
  Process& process = Process::get();
  const std::lock_guard lock(process.mutex);
  const OpenDevice* device = process.find({status.st_dev, status.st_ino});
  if (device != nullptr) disguise_as(device->number, status);
}

int close_descriptor(int fd) {
  if (open_devices.load(std::memory_order_relaxed) == 0) return real::close(fd);
  struct stat status;
  const bool candidate =
      real::fstat(fd, &status) == 0 && (S_ISREG(status.st_mode) || S_ISFIFO(status.st_mode));
  Process& process = Process::get();
  // A child of vfork() has the parent's memory, but descriptors of its own.
  if (!candidate || getpid() != process.owner) return real::close(fd);
  const FileId id = {status.st_dev, status.st_ino};
  std::shared_ptr<Context> ended;  // destroyed without the lock
  const std::lock_guard lock(process.mutex);
  const int result = real::close(fd);
  if (process.find(id) != nullptr && !is_open(id, -1)) {
    ended = std::move(process.open[id].context);
    process.open.erase(id);
    process.drive_while_open();
  }
  for (auto& [device_id, device] : process.open) {
    const EventPipe* pipe = device.works() ? device.context->find_pipe(id) : nullptr;
    if (pipe != nullptr && !is_open(id, pipe->own_fd())) device.context->forget_pipe(id);
  }
  return result;
}

}  // namespace ringer::sim::verbs
