// SPDX-License-Identifier: Apache-2.0
#include <cstring>
#include <utility>

#include <boost/context/detail/fcontext.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>

#include <ringer/sim/fiber.hpp>

#if defined(__SANITIZE_ADDRESS__)
#define RINGER_FIBER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RINGER_FIBER_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define RINGER_FIBER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RINGER_FIBER_TSAN 1
#endif
#endif

#if defined(RINGER_FIBER_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(RINGER_FIBER_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

namespace ringer::sim {

namespace context = boost::context;

// The sanitizers keep a shadow of the stack they believe to run on and must be told of each switch.
struct Fiber::Context {
  // The last frames of a fiber never return, so their redzones would outlive the stack in ASan's
  // shadow and strike whatever is mapped at its addresses next.
  struct Stack {
    context::protected_fixedsize_stack pages;

    explicit Stack(size_t bytes) : pages(bytes) {}
    context::stack_context allocate() { return pages.allocate(); }
    void deallocate(context::stack_context& left) {
#if defined(RINGER_FIBER_ASAN)
      __asan_unpoison_memory_region(static_cast<char*>(left.sp) - left.size, left.size);
#endif
      pages.deallocate(left);
    }
  };

  Stack allocator;
  context::stack_context stack;
  context::detail::fcontext_t inside;             // the body, while it is suspended
  context::detail::fcontext_t outside = nullptr;  // whoever resumed, while the body runs
  const void* stack_bottom;
#if defined(RINGER_FIBER_ASAN)
  void* outside_fake_stack = nullptr;
  void* inside_fake_stack = nullptr;
  const void* outside_bottom = nullptr;
  size_t outside_bytes = 0;
#endif
#if defined(RINGER_FIBER_TSAN)
  void* inside_tsan = __tsan_create_fiber(0);
  void* outside_tsan = nullptr;
#endif

  explicit Context(size_t stack_bytes)
      : allocator(stack_bytes),
        stack(allocator.allocate()),
        stack_bottom(static_cast<char*>(stack.sp) - stack.size) {
    begin();
  }
  ~Context() {
#if defined(RINGER_FIBER_TSAN)
    __tsan_destroy_fiber(inside_tsan);
#endif
    allocator.deallocate(stack);
  }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // An empty stack, whose first frame runs the fiber's bodies one after the other.
  void begin() {
    inside =
        context::detail::make_fcontext(stack.sp, stack.size, [](context::detail::transfer_t t) {
          auto* fiber = static_cast<Fiber*>(t.data);
          fiber->context_->outside = t.fctx;
          fiber->context_->arrived_inside();
          fiber->loop();
        });
  }

  void leaving_outside() {
#if defined(RINGER_FIBER_ASAN)
    __sanitizer_start_switch_fiber(&outside_fake_stack, stack_bottom, stack.size);
#endif
#if defined(RINGER_FIBER_TSAN)
    outside_tsan = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(inside_tsan, 0);
#endif
  }
  void back_outside() {
#if defined(RINGER_FIBER_ASAN)
    __sanitizer_finish_switch_fiber(outside_fake_stack, nullptr, nullptr);
#endif
  }
  void arrived_inside() {
#if defined(RINGER_FIBER_ASAN)
    __sanitizer_finish_switch_fiber(inside_fake_stack, &outside_bottom, &outside_bytes);
#endif
  }
  void leaving_inside([[maybe_unused]] bool last) {
#if defined(RINGER_FIBER_ASAN)
    __sanitizer_start_switch_fiber(last ? nullptr : &inside_fake_stack, outside_bottom,
                                   outside_bytes);
#endif
#if defined(RINGER_FIBER_TSAN)
    __tsan_switch_to_fiber(outside_tsan, 0);
#endif
  }
};

Fiber::Fiber(size_t stack_bytes) : context_(std::make_unique<Context>(stack_bytes)) {}

Fiber::~Fiber() {
  cancel();
  closing_ = true;
  switch_in();  // the sanitizers hear that the stack is left for good
}

void Fiber::start(std::function<void()> body) {
  body_ = std::move(body);
  finished_ = false;
  cancelled_ = false;
}

void Fiber::resume() {
  switch_in();
  if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
}

void Fiber::suspend() {
  switch_out();
  if (cancelled_) throw Cancelled{};
}

void Fiber::cancel() {
  if (finished_) return;
  cancelled_ = true;
  switch_in();
  thrown_ = nullptr;
}

bool Fiber::savable() {
#if defined(RINGER_FIBER_ASAN) || defined(RINGER_FIBER_TSAN)
  return false;
#else
  return true;
#endif
}

void Fiber::save(Image& image) const {
  image.context = context_->inside;
  image.finished = finished_;
  image.stack.assign(stack().begin(), stack().end());
}

std::span<const std::byte> Fiber::stack() const {
  return {static_cast<const std::byte*>(context_->inside),
          static_cast<const std::byte*>(context_->stack.sp)};
}

void Fiber::restore(const Image& image) {
  context_->inside = image.context;
  finished_ = image.finished;
  std::memcpy(image.context, image.stack.data(), image.stack.size());
}

void Fiber::restart() {
  if (savable()) {
    context_->begin();
  } else {
    cancel();
  }
  finished_ = false;
  cancelled_ = false;
}

void Fiber::switch_in() {
  context_->leaving_outside();
  context_->inside = context::detail::jump_fcontext(context_->inside, this).fctx;
  context_->back_outside();
}

void Fiber::switch_out() {
  context_->leaving_inside(closing_);
  context_->outside = context::detail::jump_fcontext(context_->outside, nullptr).fctx;
  context_->arrived_inside();
}

// Never returns: it is left for good while it waits for the next body.
void Fiber::loop() {
  for (;;) {
    if (closing_) switch_out();
    try {
      if (!cancelled_) body_();
    } catch (const Cancelled&) {
    } catch (...) {
      thrown_ = std::current_exception();
    }
    finished_ = true;
    switch_out();
  }
}

}  // namespace ringer::sim
