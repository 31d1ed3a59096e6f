// SPDX-License-Identifier: Apache-2.0
// Memory for tests of what a creation leaves behind that fails on the way.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>

#include <ringer/control_plane.hpp>

#include "support/catch.hpp"

namespace ringer::test {

/// Memory one of whose services fails, counted from 0; and what has been taken is counted.
class FailingMemory : public KernelMemory {
 public:
  explicit FailingMemory(uint32_t fails_at) : calls_left_(fails_at) {}
  void* allocate(size_t bytes, MemoryUse use) override {
    count_call("allocate");
    ++taken;
    return host_memory().allocate(bytes, use);
  }
  void release(void* at, size_t bytes, MemoryUse use) noexcept override {
    --taken;
    host_memory().release(at, bytes, use);
  }
  void write(void* to, const void* from, size_t bytes) override {
    count_call("write");
    std::memcpy(to, from, bytes);
  }
  void read(void* to, const void* from, size_t bytes) override { std::memcpy(to, from, bytes); }
  bool host_reachable() const override { return true; }
  void* map_registers(void* page, size_t) override {
    count_call("map_registers");
    ++taken;
    return page;
  }
  void unmap_registers(void*) noexcept override { --taken; }

  int taken = 0;

 private:
  void count_call(const char* name) {
    if (calls_left_-- == 0) throw BackendError(std::string(name) + ": injected");
  }
  uint32_t calls_left_;
};

/// Lets the creation of a queue pair fail at each of its steps, until it does not: nothing may be
/// left of any. Returns how often it was tried.
inline uint32_t fail_at_each_step(Nic& nic, QueuePairConfig config) {
  config.sq_wqebbs = 16;
  for (uint32_t step = 0;; ++step) {
    REQUIRE(step < 20);
    FailingMemory memory(step);
    config.kernels = &memory;
    bool made = false;
    try {
      const auto qp = nic.create_queue_pair(config);
      made = true;
    } catch (const BackendError& e) {
      CHECK_THAT(e.what(), contains("injected"));
    }
    CHECK(memory.taken == 0);
    if (made) return step + 1;
  }
}

}  // namespace ringer::test
