// SPDX-License-Identifier: Apache-2.0
// The platform of explored code.
#pragma once

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>

#include <ringer/platform.hpp>
#include <ringer/sim/explore/execution.hpp>

namespace ringer::sim {

/// Waits end when what they wait for is there; there is no time, so that a wait which nothing ends
/// is a deadlock of the program. A wait's predicate does nothing but load and look. Words are also
/// stored in memory itself, in the order of the run, for whoever reads them plainly. Each access
/// knows where in the source it stands.
class SimPlatform {
 public:
  /// Marks that a poster looks at together: each is a step, and rings are short.
  static constexpr uint32_t kMarksAtOnce = 2;

  SimPlatform(Execution& execution, uint32_t actor) : execution_(&execution), actor_(actor) {}

  template <Scope kScope, Order kOrder, class T>
  T load(const T* at, Source source = Source::here()) const {
    return static_cast<T>(ask(Request::Kind::load, kScope, kOrder, at, {sizeof(T)}, source));
  }
  template <Scope kScope, Order kOrder, class T>
  void store(T* at, T value, Source source = Source::here()) const {
    ask(Request::Kind::store, kScope, kOrder, at, {sizeof(T), Update::Kind::exchange, value},
        source);
  }
  template <Scope kScope, Order kOrder, class T>
  T fetch_add(T* at, T value, Source source = Source::here()) const {
    return update<kScope, kOrder>(at, {sizeof(T), Update::Kind::add, value}, source);
  }
  template <Scope kScope, Order kOrder, class T>
  T fetch_max(T* at, T value, Source source = Source::here()) const {
    return update<kScope, kOrder>(at, {sizeof(T), Update::Kind::max, value}, source);
  }
  template <Scope kScope, Order kOrder, class T>
  T exchange(T* at, T value, Source source = Source::here()) const {
    return update<kScope, kOrder>(at, {sizeof(T), Update::Kind::exchange, value}, source);
  }
  template <Scope kScope, Order kOrder, class T>
  bool compare_exchange(T* at, T expected, T desired, Source source = Source::here()) const {
    return update<kScope, kOrder>(at,
                                  {sizeof(T), Update::Kind::compare_exchange, desired, expected},
                                  source) == expected;
  }
  template <Scope kScope, Order kOrder>
  void fence(Source source = Source::here()) const {
    ask(Request::Kind::fence, kScope, kOrder, nullptr, {}, source);
  }
  void copy_wqe(void* slot, const void* wqe, uint32_t segments,
                Source source = Source::here()) const {
    write_data(slot, uint64_t{segments} * 16, source);
    std::memcpy(slot, wqe, size_t{segments} * 16);
  }
  void mmio_store(uint64_t* doorbell, uint64_t value, Source source = Source::here()) const {
    store<Scope::sys, Order::relaxed>(doorbell, value, source);
  }
  template <Scope kScope, Order kOrder, class T, class Predicate>
  WaitOutcome wait_until(const T* at, Predicate&& predicate, const WaitLimit& limit,
                         const char* site, Source source = Source::here()) const {
    wipe_stack();
    const WaitOutcome outcome = await<kScope, kOrder>(at, predicate, limit, site, source);
    wipe_stack();
    return outcome;
  }
  uint64_t now_ns() const { return 0; }
  /// Whether a check of the program's own is made; off if it is what is mutated.
  bool guard(const char* name, bool holds) const { return execution_->guard(name, holds); }

  /// Plain data: a NIC's reads by DMA, a payload.
  void write_data(const void* at, uint64_t bytes, Source source = Source::here()) const {
    ask(Request::Kind::write_data, Scope::sys, Order::relaxed, at, {0, {}, bytes}, source);
  }
  void read_data(const void* at, uint64_t bytes, Source source = Source::here()) const {
    ask(Request::Kind::read_data, Scope::sys, Order::relaxed, at, {0, {}, bytes}, source);
  }
  /// Between two steps of a program: what the last one has left on the stack tells no states apart.
  void forget() const {
    if (execution_->wiping_) Execution::wipe_stack<Execution::kStepBytes>();
  }
  /// What an oracle says when it sees what must not be.
  void fail(const std::string& what) const { execution_->fail(what); }

 private:
  using Request = Execution::Request;

  template <Scope kScope, Order kOrder, class T>
  T update(T* at, const Update& update, const Source& source) const {
    return static_cast<T>(ask(Request::Kind::update, kScope, kOrder, at, update, source));
  }
  // `update.operand` is what is stored, or the bytes of plain data.
  [[gnu::noinline]] uint64_t ask(Request::Kind kind, Scope scope, Order order, const void* at,
                                 const Update& update, const Source& source) const {
    if (execution_->glancing_) {
      if (kind != Request::Kind::load) {
        throw std::logic_error("a wait's predicate does more than load");
      }
      return execution_->load_at_glance(actor_, scope, order, at, update.bytes, source);
    }
    wipe_stack();
    const uint64_t result = execution_->request(actor_, kind, scope, order, at, update, source);
    wipe_stack();
    return result;
  }
  template <Scope kScope, Order kOrder, class T, class Predicate>
  [[gnu::noinline]] WaitOutcome await(const T* at, Predicate& predicate, const WaitLimit& limit,
                                      const char* site, const Source& source) const {
    WaitOutcome outcome = WaitOutcome::done;
    auto look = [&] {
      outcome = WaitOutcome::done;
      if (predicate(load<kScope, kOrder>(at, source))) return true;
      outcome = WaitOutcome::stopped;
      return is_set(limit.stop, source) || is_set(limit.queue_error, source);
    };
    execution_->await(
        actor_, [](void* context) { return (*static_cast<decltype(look)*>(context))(); }, &look,
        site, source);
    return outcome;
  }
  bool is_set(const uint32_t* stop, const Source& source) const {
    return stop != nullptr && execution_->program_.may_stop &&
           load<Scope::sys, Order::relaxed>(stop, source) != 0;
  }
  // Zeroes the stack below the caller: what is left there by calls that have returned would tell
  // states apart that are the same. Before an access, because its frames do not fill all they take
  // up; after it, because what is called next does not either.
  void wipe_stack() const {
    if (execution_->wiping_) Execution::wipe_stack<Execution::kAccessBytes>();
  }

  Execution* execution_;
  uint32_t actor_;
};

static_assert(Platform<SimPlatform>);

}  // namespace ringer::sim
