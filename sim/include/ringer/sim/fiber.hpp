// SPDX-License-Identifier: Apache-2.0
// A stackful fiber that can be started again after it has finished. Known to ASan and TSan.
#pragma once

#include <cstddef>
#include <exception>
#include <functional>
#include <memory>

namespace ringer::sim {

/// Runs on the thread that resumes it. Not thread-safe.
class Fiber {
 public:
  explicit Fiber(size_t stack_bytes = 256 * 1024);
  /// Unwinds a suspended body first.
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Gives a finished (or fresh) fiber its next body; nothing runs before resume().
  void start(std::function<void()> body);
  /// Runs the body until it suspends or ends. Rethrows what the body threw.
  void resume();
  /// From inside the body: back to whoever resumed.
  void suspend();
  /// Ends a suspended body by unwinding its stack.
  void cancel();
  bool finished() const { return finished_; }

 private:
  struct Context;  // hides Boost.Context and the sanitizer bookkeeping
  struct Cancelled {};

  void switch_in();
  void switch_out();
  void loop();

  std::unique_ptr<Context> context_;
  std::function<void()> body_;
  std::exception_ptr thrown_;
  bool finished_ = true;
  bool cancelled_ = false;
  bool closing_ = false;
};

}  // namespace ringer::sim
