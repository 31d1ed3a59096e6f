// SPDX-License-Identifier: Apache-2.0
// A stackful fiber that can be started again after it has finished, and saved and restored while it
// is suspended. Known to ASan and TSan.
#pragma once

#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <span>
#include <vector>

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

  /// A fiber between two resumes: the part of its stack in use. Valid for the fiber it was taken
  /// from, as long as that runs the same body.
  struct Image {
    void* context = nullptr;
    bool finished = true;
    std::vector<std::byte> stack;
  };
  /// False where a sanitizer keeps a shadow of the stack that a copy would not bring back.
  static bool savable();
  /// What lives on the stack must own nothing: an image is copied, and left, like plain bytes.
  void save(Image& image) const;
  void restore(const Image& image);
  /// The part of a suspended fiber's stack in use: all that its body has but for what it points to.
  std::span<const std::byte> stack() const;
  /// The same body from its beginning; what it had on its stack is left, not unwound (but see
  /// savable(): without, it is unwound).
  void restart();

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
