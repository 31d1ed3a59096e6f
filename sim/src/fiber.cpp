// SPDX-License-Identifier: Apache-2.0
#include <boost/context/fiber.hpp>
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

namespace {

// The last frames of a fiber never return, so their redzones would outlive the stack in ASan's
// shadow and strike whatever is mapped at its addresses next.
struct Stack {
  context::protected_fixedsize_stack pages;

  explicit Stack(size_t bytes) : pages(bytes) {}
  context::stack_context allocate() { return pages.allocate(); }
  void deallocate(context::stack_context& stack) {
#if defined(RINGER_FIBER_ASAN)
    __asan_unpoison_memory_region(static_cast<char*>(stack.sp) - stack.size, stack.size);
#endif
    pages.deallocate(stack);
  }
};

}  // namespace

// The sanitizers keep a shadow of the stack they believe to run on and must be told of each switch.
struct Fiber::Context {
  context::fiber inside;   // the body, while it is suspended
  context::fiber outside;  // whoever resumed, while the body runs
  const void* stack_bottom = nullptr;
  size_t stack_bytes = 0;
#if defined(RINGER_FIBER_ASAN)
  void* outside_fake_stack = nullptr;
  void* inside_fake_stack = nullptr;
  const void* outside_bottom = nullptr;
  size_t outside_bytes = 0;
#endif
#if defined(RINGER_FIBER_TSAN)
  void* inside_tsan = __tsan_create_fiber(0);
  void* outside_tsan = nullptr;
  ~Context() { __tsan_destroy_fiber(inside_tsan); }
#endif

  void leaving_outside() {
#if defined(RINGER_FIBER_ASAN)
    __sanitizer_start_switch_fiber(&outside_fake_stack, stack_bottom, stack_bytes);
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

Fiber::Fiber(size_t stack_bytes) : context_(std::make_unique<Context>()) {
  Stack allocator(stack_bytes);
  const context::stack_context stack = allocator.allocate();
  context_->stack_bottom = static_cast<char*>(stack.sp) - stack.size;
  context_->stack_bytes = stack.size;
  context_->inside =
      context::fiber(std::allocator_arg, context::preallocated(stack.sp, stack.size, stack),
                     allocator, [this](context::fiber&& resumer) {
                       context_->outside = std::move(resumer);
                       context_->arrived_inside();
                       loop();
                       context_->leaving_inside(true);
                       return std::move(context_->outside);
                     });
}

Fiber::~Fiber() {
  cancel();
  closing_ = true;
  switch_in();
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

void Fiber::switch_in() {
  context_->leaving_outside();
  context_->inside = std::move(context_->inside).resume();
  context_->back_outside();
}

void Fiber::switch_out() {
  context_->leaving_inside(false);
  context_->outside = std::move(context_->outside).resume();
  context_->arrived_inside();
}

void Fiber::loop() {
  for (;;) {
    if (closing_) return;
    try {
      if (!cancelled_) body_();
    } catch (const Cancelled&) {
    } catch (...) {
      thrown_ = std::current_exception();
    }
    body_ = nullptr;
    finished_ = true;
    switch_out();
  }
}

}  // namespace ringer::sim
