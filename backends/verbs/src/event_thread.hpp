// SPDX-License-Identifier: Apache-2.0
// A thread that sleeps until a file can be read.
#pragma once

#include <functional>
#include <thread>

namespace ringer::verbs {

class EventThread {
 public:
  /// Calls `on_readable`, which must not throw, whenever `file` can be read; reading it does not
  /// wait from now on. Errors: BackendError.
  EventThread(int file, std::function<void()> on_readable);
  /// `on_readable` is not called any more when this returns.
  ~EventThread();
  EventThread(const EventThread&) = delete;
  EventThread& operator=(const EventThread&) = delete;

 private:
  void run(int file) const;

  std::function<void()> on_readable_;
  int stop_;  // readable: the thread is to end
  std::thread thread_;
};

}  // namespace ringer::verbs
