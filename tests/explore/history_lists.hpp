// SPDX-License-Identifier: Apache-2.0
// What the small programs are made of.
#pragma once

#include "explore/history.hpp"

namespace ringer::test {

using P = const sim::SimPlatform&;

constexpr sim::Place kGpu0{0, 0}, kGpu0b{0, 1}, kGpu1{1, 10}, kHost{2, 20}, kHost2{3, 30};

inline void store_sys(P p, uint64_t* at, uint64_t value) {
  p.store<Scope::sys, Order::release>(at, value);
}

/// Waits, acquiring, and returns what it has found.
template <class Predicate>
uint64_t await_word(P p, uint64_t* at, Predicate&& predicate, const char* site) {
  uint64_t found = 0;
  p.wait_until<Scope::sys, Order::acquire>(
      at,
      [&](uint64_t value) {
        found = predicate(value) ? value : 0;
        return predicate(value);
      },
      {}, site);
  return found;
}

std::vector<Bug> ring_history();
std::vector<Bug> completion_history();
std::vector<Bug> arrival_history();

}  // namespace ringer::test
