// SPDX-License-Identifier: Apache-2.0
// The contract between the ring protocol and whatever executes it.
#pragma once

#include <concepts>
#include <cstdint>

#include <ringer/config.hpp>
#include <ringer/memory_order.hpp>

namespace ringer {

/// When a wait gives up: at `expires_ns` on the platform's own clock, or as soon as one of the stop
/// words is not zero. Both may be null: `stop` is the caller's, `queue_error` is put in by waits on
/// a queue.
struct WaitLimit {
  uint64_t expires_ns = ~uint64_t{0};
  const uint32_t* stop = nullptr;
  const uint32_t* queue_error = nullptr;

  RINGER_HD WaitLimit with_queue_error(const uint32_t* error) const {
    return {expires_ns, stop, error};
  }
};

enum class WaitOutcome { done, deadline, stopped };

// What the concept passes for a predicate: nvcc takes no lambda inside a requires-expression.
struct AnyPredicate {
  bool operator()(uint64_t value) const;
};

/// What everything that touches shared memory is a template over. A platform is cheap to copy and
/// names scope and order at each access:
///
///   p.template store<Scope::sys, Order::release>(&dbr, v);   // pairs with the NIC's DBR read
///
/// - `load`, `store`: 4- and 8-byte naturally aligned words.
/// - `fetch_add`, `fetch_max`, `exchange` return the value before; `compare_exchange` returns true
///   when it stored `desired`.
/// - `copy_wqe(slot, wqe, segments)` writes `segments` 16-byte pieces with plain stores; a later
///   release makes them visible.
/// - `mmio_store` rings a doorbell: an 8-byte store to a device register. What it must not pass, a
///   fence before it holds back.
/// - `wait_until(address, predicate, limit, site)` ends when `predicate(load(address))` holds. It
///   is the only way to wait; `site` names the wait in reports.
/// - `now_ns` is the clock that `WaitLimit::expires_ns` is read on.
template <class P>
concept Platform = std::copyable<P> &&
    requires(P p, uint64_t* w64, uint32_t* w32, const WaitLimit& limit) {
  { p.template load<Scope::gpu, Order::acquire>(w64) } -> std::same_as<uint64_t>;
  { p.template load<Scope::sys, Order::relaxed>(w32) } -> std::same_as<uint32_t>;
  p.template store<Scope::sys, Order::release>(w64, uint64_t{});
  { p.template fetch_add<Scope::gpu, Order::relaxed>(w64, uint64_t{}) } -> std::same_as<uint64_t>;
  { p.template fetch_max<Scope::gpu, Order::release>(w64, uint64_t{}) } -> std::same_as<uint64_t>;
  { p.template exchange<Scope::gpu, Order::acquire>(w32, uint32_t{}) } -> std::same_as<uint32_t>;
  {
    p.template compare_exchange<Scope::gpu, Order::acq_rel>(w64, uint64_t{}, uint64_t{})
    } -> std::same_as<bool>;
  p.template fence<Scope::sys, Order::acq_rel>();
  p.copy_wqe(static_cast<void*>(w64), static_cast<const void*>(w64), uint32_t{});
  p.mmio_store(w64, uint64_t{});
  {
    p.template wait_until<Scope::sys, Order::acquire>(w64, AnyPredicate{}, limit, "site")
    } -> std::same_as<WaitOutcome>;
  { p.now_ns() } -> std::same_as<uint64_t>;
};

/// A check that keeps the protocol right, by name: `holds`, but false where a platform is to show
/// what happens without it.
template <class P>
RINGER_HD constexpr bool guard(const P& p, [[maybe_unused]] const char* name, bool holds) {
  if constexpr (requires { p.guard(name, holds); }) {
    return p.guard(name, holds);
  } else {
    return holds;
  }
}

/// Tell a platform that looks for races of plain accesses to what others use, too.
template <class P>
RINGER_HD constexpr void note_write([[maybe_unused]] const P& p, [[maybe_unused]] const void* at,
                                    [[maybe_unused]] uint64_t bytes) {
  if constexpr (requires { p.write_data(at, bytes); }) p.write_data(at, bytes);
}
template <class P>
RINGER_HD constexpr void note_read([[maybe_unused]] const P& p, [[maybe_unused]] const void* at,
                                   [[maybe_unused]] uint64_t bytes) {
  if constexpr (requires { p.read_data(at, bytes); }) p.read_data(at, bytes);
}

/// The limit `timeout_ns` from now; saturates instead of wrapping.
template <Platform P>
RINGER_HD WaitLimit limit_after(const P& p, uint64_t timeout_ns, const uint32_t* stop = nullptr) {
  const uint64_t now = p.now_ns();
  return {now + timeout_ns < now ? ~uint64_t{0} : now + timeout_ns, stop, nullptr};
}

}  // namespace ringer
