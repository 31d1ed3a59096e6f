// SPDX-License-Identifier: Apache-2.0
#include "event_thread.hpp"

#include <cerrno>
#include <csignal>
#include <system_error>

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <ringer/verbs/verbs_library.hpp>

namespace ringer::verbs {

EventThread::EventThread(int file, std::function<void()> on_readable)
    : on_readable_(std::move(on_readable)), stop_(eventfd(0, EFD_CLOEXEC)) {
  if (stop_ < 0) fail("eventfd", "this machine", errno);
  // What could be read may be taken back before it is: an event of an object that is destroyed.
  fcntl(file, F_SETFL, fcntl(file, F_GETFL) | O_NONBLOCK);
  try {
    thread_ = std::thread([this, file] { run(file); });
  } catch (const std::system_error& error) {
    close(stop_);
    fail("a thread", "this machine", error.code().value());
  }
}

EventThread::~EventThread() {
  eventfd_write(stop_, 1);
  thread_.join();
  close(stop_);
}

void EventThread::run(int file) const {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);  // they are for the program's own threads
  pollfd files[] = {{stop_, POLLIN, 0}, {file, POLLIN, 0}};
  for (;;) {
    poll(files, 2, -1);
    if (files[0].revents != 0) return;
    if ((files[1].revents & POLLIN) != 0) {
      on_readable_();
    } else if (files[1].revents != 0) {
      files[1].fd = -1;  // the device is gone: nothing will come
    }
  }
}

}  // namespace ringer::verbs
