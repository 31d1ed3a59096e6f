// SPDX-License-Identifier: Apache-2.0
// Runs a few actors under a Choices source: at each shared access it decides who moves, and the
// memory model what he sees.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <ringer/platform.hpp>
#include <ringer/sim/explore/memory_model.hpp>
#include <ringer/sim/fiber.hpp>

namespace ringer::sim {

class SimPlatform;

/// One thread of an explored program. The body is run anew in each execution and must depend on
/// nothing but what it is given and what it reads through its platform.
struct ActorSpec {
  std::string name;
  Place place;
  std::function<void(SimPlatform)> body;
};

/// What one execution came to.
struct Verdict {
  std::string failure;   ///< empty: none
  std::string schedule;  ///< replays it
};

struct ExploreResult {
  uint64_t executions = 0;
  uint64_t pruned = 0;    ///< begun, but the same as another one in another order
  bool complete = false;  ///< all executions were run
  Verdict first_failure;
};

/// One run of all actors. With `reduce` the choices are taken to be enumerated in order, and what
/// differs from an earlier execution only in the order of independent accesses is cut short (sleep
/// sets; Godefroid 1996).
class Execution {
 public:
  using FiberPool = std::vector<std::unique_ptr<Fiber>>;
  Execution(Choices& choices, const std::vector<ActorSpec>& actors, FiberPool& fibers, bool reduce);
  ~Execution();
  Execution(const Execution&) = delete;
  Execution& operator=(const Execution&) = delete;

  /// To the end, to a deadlock or to a data race: the failure, or nothing.
  std::string run();
  bool pruned() const { return pruned_; }
  MemoryModel& memory() { return memory_; }
  /// An oracle has seen what must not be: the execution ends with this failure.
  void fail(const std::string& what) {
    if (failure_.empty()) failure_ = what;
  }

 private:
  friend class SimPlatform;

  // What an actor does when it moves next: access one word, or look again at all that its wait has
  // read.
  struct Next {
    const char* site = nullptr;  // of a wait; null: it can move
    bool writes = false;
    std::vector<const void*> words;
  };

  /// Before each access of `actor`: somebody else may move.
  void interleave(uint32_t actor, const void* at, bool writes);
  /// What `actor` reads from here on is what its wait depends on.
  void begin_look(uint32_t actor) { looks_[actor].clear(); }
  void wait(uint32_t actor, const char* site);
  bool can_move(uint32_t actor) const;
  void wake(uint32_t actor);
  static bool dependent(const Next& a, const Next& b);
  std::string deadlock() const;
  uint32_t pick(const std::vector<uint32_t>& ready);

  const std::vector<ActorSpec>& specs_;
  Choices& choices_;
  bool reduce_;
  MemoryModel memory_;
  FiberPool& fibers_;
  std::vector<Next> next_;
  std::vector<std::vector<const void*>> looks_;
  std::vector<bool> asleep_;
  uint32_t last_ = 0;
  bool pruned_ = false;
  std::string failure_;
};

/// The platform of explored code. Waits end when what they wait for is there; there is no time, so
/// that a wait which nothing ends is a deadlock of the program. Words are also stored in memory
/// itself, in the order of the run, for whoever reads them plainly.
class SimPlatform {
 public:
  SimPlatform(Execution& execution, uint32_t actor) : execution_(&execution), actor_(actor) {}

  template <Scope kScope, Order kOrder, class T>
  T load(const T* at) const {
    execution_->interleave(actor_, at, false);
    return static_cast<T>(memory().load(actor_, at, word(at), kScope, kOrder));
  }
  template <Scope kScope, Order kOrder, class T>
  void store(T* at, T value) const {
    execution_->interleave(actor_, at, true);
    memory().store(actor_, at, word(at), value, kScope, kOrder);
    stored(at);
  }
  template <Scope kScope, Order kOrder, class T>
  T fetch_add(T* at, T value) const {
    return update<kScope, kOrder>(at, [value](T seen) { return static_cast<T>(seen + value); });
  }
  template <Scope kScope, Order kOrder, class T>
  T fetch_max(T* at, T value) const {
    return update<kScope, kOrder>(at, [value](T seen) { return seen < value ? value : seen; });
  }
  template <Scope kScope, Order kOrder, class T>
  T exchange(T* at, T value) const {
    return update<kScope, kOrder>(at, [value](T) { return value; });
  }
  template <Scope kScope, Order kOrder, class T>
  bool compare_exchange(T* at, T expected, T desired) const {
    execution_->interleave(actor_, at, true);
    const uint64_t before =
        memory().update(actor_, at, word(at), kScope, kOrder, [&](uint64_t seen) {
          return MemoryModel::Updated{seen == expected, desired};
        });
    if (before == expected) stored(at);
    return before == expected;
  }
  template <Scope kScope, Order kOrder>
  void fence() const {
    memory().fence(actor_, kScope, kOrder);
  }
  void copy_wqe(void* slot, const void* wqe, uint32_t segments) const {
    memory().write_data(actor_, slot, segments * 16);
    std::memcpy(slot, wqe, size_t{segments} * 16);
  }
  void mmio_store(uint64_t* doorbell, uint64_t value) const {
    store<Scope::sys, Order::relaxed>(doorbell, value);
  }
  template <Scope kScope, Order kOrder, class T, class Predicate>
  WaitOutcome wait_until(const T* at, Predicate&& predicate, const WaitLimit& limit,
                         const char* site) const {
    for (;;) {
      execution_->begin_look(actor_);
      if (predicate(load<kScope, kOrder>(at))) return WaitOutcome::done;
      if (is_set(limit.stop) || is_set(limit.queue_error)) return WaitOutcome::stopped;
      execution_->wait(actor_, site);
    }
  }
  uint64_t now_ns() const { return 0; }

  /// Plain data of an actor that is no poster: a NIC's reads by DMA, a payload.
  void write_data(void* at, uint32_t bytes) const { memory().write_data(actor_, at, bytes); }
  void read_data(const void* at, uint32_t bytes) const { memory().read_data(actor_, at, bytes); }
  void name(const void* at, size_t bytes, const std::string& text) const {
    memory().name(at, bytes, text);
  }
  /// What an oracle says when it sees what must not be.
  void fail(const std::string& what) const { execution_->fail(what); }

 private:
  MemoryModel& memory() const { return execution_->memory_; }
  template <class T>
  static uint64_t word(const T* at) {
    return static_cast<uint64_t>(*at);
  }
  template <class T>
  void stored(T* at) const {
    *at = static_cast<T>(memory().final_value(at));
  }
  static bool is_set(const uint32_t* word) { return word != nullptr && *word != 0; }

  template <Scope kScope, Order kOrder, class T, class F>
  T update(T* at, F&& f) const {
    execution_->interleave(actor_, at, true);
    const uint64_t before =
        memory().update(actor_, at, word(at), kScope, kOrder, [&](uint64_t seen) {
          return MemoryModel::Updated{true, f(static_cast<T>(seen))};
        });
    stored(at);
    return static_cast<T>(before);
  }

  Execution* execution_;
  uint32_t actor_;
};

static_assert(Platform<SimPlatform>);

/// Runs `make` for the actors of each execution and `check` after it, until `choices` has no more
/// or an execution has failed. `check` returns what is wrong, or nothing. `reduce` is for
/// enumerated choices and their replay.
ExploreResult explore(Choices& choices, const std::function<std::vector<ActorSpec>()>& make,
                      const std::function<std::string(MemoryModel&)>& check, bool reduce = true);

}  // namespace ringer::sim
