// SPDX-License-Identifier: Apache-2.0
// An open device: what a process has between open() and the last close() of its uverbs file.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <new>

#include <ringer/sim/nic.hpp>

#include "bar.hpp"
#include "device_model.hpp"
#include "events.hpp"
#include "object_table.hpp"
#include "objects.hpp"
#include "request.hpp"

namespace ringer::sim::verbs {

/// What all contexts of one device share: the NIC, and numbers that it tells objects apart by.
struct Device {
  Device(Nic& of_host, const DeviceModel& as) : nic(of_host), model(as) {}

  Nic& nic;
  const DeviceModel model;
  std::atomic<uint32_t> next_pd{1};
  std::atomic<uint32_t> next_cq{1};
  std::atomic<uint32_t> next_xrc_domain{1};
  std::mutex mutex;
  std::map<FileId, std::weak_ptr<XrcDomainCore>> xrc_domains;  ///< guarded by `mutex`
};

class Context {
 public:
  /// Errors: VerbsError.
  Context(Device& of, const char* name) : device(of), nic(of.nic), bar(name) {}

  /// Carries out one control call. Returns 0 or an errno.
  int control(ib_uverbs_ioctl_hdr& header);

  // In the process and in a child that it forks: see process.cpp.

  void before_fork() { mutex_.lock(); }
  void after_fork_in_parent() { mutex_.unlock(); }
  /// From here on only methods work that ask nothing of the NIC, which is the parent's.
  void after_fork_in_child() {
    inherited_ = true;
    new (&mutex_) std::mutex;  // locked by a thread that is not here
  }
  bool inherited() const { return inherited_; }

  // For the methods, which have the context to themselves.

  /// Errors: VerbsError EINVAL if `fd` is no event file of this context.
  std::shared_ptr<EventPipe> pipe(int fd) const;
  /// Returns the descriptor for the application.
  int add_pipe(size_t record_bytes);
  /// The asynchronous event file that attribute `id` names, or the context's own.
  std::shared_ptr<EventPipe> async_pipe(const Request& request, uint32_t id) const;
  /// The application has closed `id` for good. True if it was one of this context.
  bool forget_pipe(const FileId& id);
  const EventPipe* find_pipe(const FileId& id) const;
  Uar& uar(uint32_t page) const;

  Device& device;
  Nic& nic;
  Bar bar;
  ObjectTable objects;
  bool ready = false;  ///< the driver's part is set up

 private:
  void dispatch(const Request& request);

  bool inherited_ = false;
  mutable std::mutex mutex_;
  std::map<FileId, std::shared_ptr<EventPipe>> pipes_;
  std::shared_ptr<EventPipe> default_async_;
};

}  // namespace ringer::sim::verbs
