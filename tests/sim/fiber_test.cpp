// SPDX-License-Identifier: Apache-2.0
// What a fiber leaves in the address space. Bug class: a sanitizer's marks on a stack that has gone
// accuse the next, innocent owner of its addresses.
#include <algorithm>
#include <cstdint>
#include <optional>

#include <sys/mman.h>

#include <ringer/sim/fiber.hpp>

#include "support/catch.hpp"

namespace ringer::test {
namespace {

// Fills `pages` pages from `first` on, as far as nobody else has them; returns how many that were.
int fill_free_pages(uintptr_t first, int pages) {
  constexpr size_t kPageBytes = 4096;
  int filled = 0;
  for (int i = 0; i < pages; ++i) {
    void* wanted = reinterpret_cast<void*>(first + static_cast<size_t>(i) * kPageBytes);
    void* page = mmap(wanted, kPageBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (page == MAP_FAILED) continue;
    if (page == wanted) {
      // Instrumented stores: AddressSanitizer ends the test where the shadow is not clean.
      auto* bytes = static_cast<volatile uint8_t*>(page);
      std::fill_n(bytes, kPageBytes, uint8_t{0x5a});
      ++filled;
    }
    munmap(page, kPageBytes);
  }
  return filled;
}

void check_place_of_a_destroyed_fiber(bool suspended) {
  uintptr_t inside = 0;
  {
    std::optional<sim::Fiber> fiber(std::in_place, 64 * 1024);
    fiber->start([&] {
      volatile uint8_t frame[512] = {};
      inside = reinterpret_cast<uintptr_t>(&frame[0]);
      if (suspended) fiber->suspend();
    });
    fiber->resume();
    REQUIRE(fiber->finished() != suspended);
  }
  constexpr uintptr_t kPageMask = ~uintptr_t{4095};
  CHECK(fill_free_pages((inside & kPageMask) - 4096, 4) > 0);
}

TEST_CASE("memory in the place of a destroyed fiber is as good as any", "[fiber]") {
  SECTION("that had finished") { check_place_of_a_destroyed_fiber(false); }
  SECTION("that was suspended") { check_place_of_a_destroyed_fiber(true); }
}

}  // namespace
}  // namespace ringer::test
