// SPDX-License-Identifier: Apache-2.0
// The platform of a kernel on a GPU: cuda::atomic_ref, the global timer, and PTX where CUDA C++ has
// no word for an access.
#pragma once

#include <cuda/atomic>

#include <ringer/bytes.hpp>
#include <ringer/platform.hpp>
#include <ringer/types.hpp>

namespace ringer {

/// Host memory that a kernel shares with a NIC must be mapped under the same address.
class CudaPlatform {
 public:
  template <Scope kScope, Order kOrder, class T>
  __device__ T load(const T* address) const {
    return ref<kScope>(address).load(load_order(kOrder));
  }

  template <Scope kScope, Order kOrder, class T>
  __device__ void store(T* address, T value) const {
    ref<kScope>(address).store(value, store_order(kOrder));
  }

  template <Scope kScope, Order kOrder, class T>
  __device__ T fetch_add(T* address, T value) const {
    return ref<kScope>(address).fetch_add(value, order(kOrder));
  }

  template <Scope kScope, Order kOrder, class T>
  __device__ T fetch_max(T* address, T value) const {
    return ref<kScope>(address).fetch_max(value, order(kOrder));
  }

  template <Scope kScope, Order kOrder, class T>
  __device__ T exchange(T* address, T value) const {
    return ref<kScope>(address).exchange(value, order(kOrder));
  }

  template <Scope kScope, Order kOrder, class T>
  __device__ bool compare_exchange(T* address, T expected, T desired) const {
    return ref<kScope>(address).compare_exchange_strong(expected, desired, order(kOrder),
                                                        cuda::memory_order_relaxed);
  }

  template <Scope kScope, Order kOrder>
  __device__ void fence() const {
    cuda::atomic_thread_fence(order(kOrder), kScope == Scope::sys   ? cuda::thread_scope_system
                                             : kScope == Scope::gpu ? cuda::thread_scope_device
                                                                    : cuda::thread_scope_block);
  }

  __device__ void copy_wqe(void* slot, const void* wqe, uint32_t segments) const {
    auto* to = static_cast<uint8_t*>(slot);
    const auto* from = static_cast<const uint8_t*>(wqe);
    for (uint32_t i = 0; i < kWqebbBytes / 16; ++i) {
      if (i < segments) store_as<Chunk16>(to + i * 16, load_as<Chunk16>(from + i * 16));
    }
  }

  __device__ void mmio_store(uint64_t* doorbell, uint64_t value) const {
    asm volatile("st.mmio.relaxed.sys.global.b64 [%0], %1;"
                 :
                 : "l"(doorbell), "l"(value)
                 : "memory");
  }

  template <Scope kScope, Order kOrder, class T, class Predicate>
  __device__ WaitOutcome wait_until(const T* address, Predicate&& predicate, const WaitLimit& limit,
                                    const char* /*site*/) const {
    for (uint32_t spins = 1;; ++spins) {
      if (predicate(load<kScope, kOrder>(address))) return WaitOutcome::done;
      __nanosleep(kNapNs);  // many warps that poll at full speed crowd out what they wait for
      if (spins % kSpinsPerLook != 0) continue;
      if (is_set(limit.stop) || is_set(limit.queue_error)) return WaitOutcome::stopped;
      if (now_ns() >= limit.expires_ns) return WaitOutcome::deadline;
    }
  }

  __device__ uint64_t now_ns() const {
    uint64_t now;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
    return now;
  }

 private:
  static constexpr uint32_t kNapNs = 20;
  // A stop word may lie in host memory, where a look costs more than many spins.
  static constexpr uint32_t kSpinsPerLook = 256;

  __device__ bool is_set(const uint32_t* word) const {
    // pairs with the release that set the stop word
    return word != nullptr && load<Scope::sys, Order::acquire>(word) != 0;
  }

  template <Scope kScope, class T>
  __device__ static auto ref(const T* address) {
    T& word = *const_cast<T*>(address);
    if constexpr (kScope == Scope::cta) {
      return cuda::atomic_ref<T, cuda::thread_scope_block>(word);
    } else if constexpr (kScope == Scope::gpu) {
      return cuda::atomic_ref<T, cuda::thread_scope_device>(word);
    } else {
      return cuda::atomic_ref<T, cuda::thread_scope_system>(word);
    }
  }

  __device__ static constexpr cuda::memory_order order(Order o) {
    switch (o) {
      case Order::acquire:
        return cuda::memory_order_acquire;
      case Order::release:
        return cuda::memory_order_release;
      case Order::acq_rel:
        return cuda::memory_order_acq_rel;
      case Order::relaxed:
        break;
    }
    return cuda::memory_order_relaxed;
  }
  __device__ static constexpr cuda::memory_order load_order(Order o) {
    return o == Order::relaxed ? cuda::memory_order_relaxed : cuda::memory_order_acquire;
  }
  __device__ static constexpr cuda::memory_order store_order(Order o) {
    return o == Order::relaxed ? cuda::memory_order_relaxed : cuda::memory_order_release;
  }
};

static_assert(Platform<CudaPlatform>);

}  // namespace ringer
