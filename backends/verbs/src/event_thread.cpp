// SPDX-License-Identifier: Apache-2.0
#include "event_thread.hpp"

#include <cerrno>

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <ringer/verbs/verbs_library.hpp>

namespace ringer::verbs {

EventThread::EventThread(int file, std::function<void()> on_readable)
    : on_readable_(std::move(on_readable)), stop_(eventfd(0, EFD_CLOEXEC)) {
  if (stop_ < 0) fail("eventfd", "this machine", errno);
  thread_ = std::thread([this, file] { run(file); });
}

EventThread::~EventThread() {
  eventfd_write(stop_, 1);
  thread_.join();
  close(stop_);
}

void EventThread::run(int file) const {
  pollfd files[] = {{stop_, POLLIN, 0}, {file, POLLIN, 0}};
  for (;;) {
    if (poll(files, 2, -1) < 0) continue;  // a signal
    if (files[0].revents != 0) return;
    if (files[1].revents != 0) on_readable_();
  }
}

}  // namespace ringer::verbs
