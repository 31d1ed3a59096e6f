// SPDX-License-Identifier: Apache-2.0
// The platform of real host threads: std::atomic_ref and the steady clock.
#pragma once

#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

#include <ringer/platform.hpp>
#include <ringer/types.hpp>

namespace ringer {

/// Scopes are named at each call and all mean the whole process here: a host thread, the software
/// NIC and another rank are peers of one coherent memory.
class HostPlatform {
 public:
  template <Scope, Order kOrder, class T>
  T load(const T* address) const {
    return std::atomic_ref<T>(*const_cast<T*>(address)).load(load_order(kOrder));
  }

  template <Scope, Order kOrder, class T>
  void store(T* address, T value) const {
    std::atomic_ref<T>(*address).store(value, store_order(kOrder));
  }

  template <Scope, Order kOrder, class T>
  T fetch_add(T* address, T value) const {
    return std::atomic_ref<T>(*address).fetch_add(value, order(kOrder));
  }

  template <Scope, Order kOrder, class T>
  T fetch_max(T* address, T value) const {
    std::atomic_ref<T> word(*address);
    T seen = word.load(std::memory_order_relaxed);
    while (seen < value &&
           !word.compare_exchange_weak(seen, value, order(kOrder), std::memory_order_relaxed)) {
    }
    return seen;
  }

  template <Scope, Order kOrder, class T>
  T exchange(T* address, T value) const {
    return std::atomic_ref<T>(*address).exchange(value, order(kOrder));
  }

  template <Scope, Order kOrder, class T>
  bool compare_exchange(T* address, T expected, T desired) const {
    return std::atomic_ref<T>(*address).compare_exchange_strong(expected, desired, order(kOrder),
                                                                std::memory_order_relaxed);
  }

  template <Scope, Order kOrder>
  void fence() const {
    std::atomic_thread_fence(order(kOrder));
  }

  void copy_wqe(void* slot, const void* wqe, uint32_t segments) const {
    std::memcpy(slot, wqe, size_t{segments} * 16);
  }

  void mmio_store(uint64_t* doorbell, uint64_t value) const {
    std::atomic_ref<uint64_t>(*doorbell).store(value, std::memory_order_release);
  }

  template <Scope kScope, Order kOrder, class T, class Predicate>
  WaitOutcome wait_until(const T* address, Predicate&& predicate, const WaitLimit& limit,
                         const char* /*site*/) const {
    for (uint32_t spins = 1;; ++spins) {
      if (predicate(load<kScope, kOrder>(address))) return WaitOutcome::done;
      if (stop_requested(limit)) return WaitOutcome::stopped;
      if (spins % kSpinsPerYield != 0) continue;
      if (now_ns() >= limit.expires_ns) return WaitOutcome::deadline;
      std::this_thread::yield();
    }
  }

  uint64_t now_ns() const {
    return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                     std::chrono::steady_clock::now().time_since_epoch())
                                     .count());
  }

 protected:
  bool stop_requested(const WaitLimit& limit) const {
    return is_set(limit.stop) || is_set(limit.queue_error);
  }

 private:
  bool is_set(const uint32_t* word) const {
    // pairs with the release that set the stop word
    return word != nullptr && load<Scope::sys, Order::acquire>(word) != 0;
  }

  static constexpr uint32_t kSpinsPerYield = 64;

  // ThreadSanitizer does not see fences: under it a relaxed access does what the fence beside it
  // does.
  static constexpr std::memory_order order(Order o) {
    switch (o) {
      case Order::acquire:
        return std::memory_order_acquire;
      case Order::release:
        return std::memory_order_release;
      case Order::acq_rel:
        return std::memory_order_acq_rel;
      case Order::relaxed:
        break;
    }
    return kThreadSanitizer ? std::memory_order_acq_rel : std::memory_order_relaxed;
  }
  static constexpr std::memory_order load_order(Order o) {
    const bool relaxed = o == Order::relaxed && !kThreadSanitizer;
    return relaxed ? std::memory_order_relaxed : std::memory_order_acquire;
  }
  static constexpr std::memory_order store_order(Order o) {
    const bool relaxed = o == Order::relaxed && !kThreadSanitizer;
    return relaxed ? std::memory_order_relaxed : std::memory_order_release;
  }
};

static_assert(Platform<HostPlatform>);

}  // namespace ringer
