// SPDX-License-Identifier: Apache-2.0
// Windows of the host that other processes map: same bytes, no name, nothing left behind.
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <functional>
#include <iterator>

#include <sys/wait.h>
#include <unistd.h>

#include <ringer/control_plane.hpp>
#include <ringer/kernel_memory.hpp>

#include "support/catch.hpp"

namespace ringer::test {
namespace {

constexpr size_t kBytes = 3 * 4096;

/// Runs `body` in a process of its own; returns what it returns, or -1 if it threw or was killed.
int in_other_process(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    try {
      _exit(body());
    } catch (...) {
      _exit(255);
    }
  }
  int status = 0;
  if (waitpid(child, &status, 0) != child || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status) == 255 ? -1 : WEXITSTATUS(status);
}

std::string refusal_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const BackendError& error) {
    return error.what();
  }
  return "no refusal";
}

std::ptrdiff_t open_files() {
  using Files = std::filesystem::directory_iterator;
  return std::distance(Files("/proc/self/fd"), Files());
}

}  // namespace

TEST_CASE("another process sees and changes a shared window", "[windows]") {
  KernelMemory& memory = host_memory();
  KernelArray<uint8_t> window(memory, kBytes, MemoryUse::shared_window);
  CHECK(std::all_of(window.data(), window.data() + kBytes, [](uint8_t b) { return b == 0; }));
  window.data()[kBytes - 1] = 17;
  const WindowHandle handle = memory.share(window.data());
  const int result = in_other_process([&] {
    auto* opened = static_cast<uint8_t*>(memory.open(handle));
    // Not the copy that fork has made of the mapping.
    if (opened == window.data() || opened[kBytes - 1] != 17) return 1;
    opened[0] = 42;
    memory.close(opened);
    return 0;
  });
  CHECK(result == 0);
  CHECK(window.data()[0] == 42);
}

TEST_CASE("a window outlives its owner's hold for those who have it open", "[windows]") {
  KernelMemory& memory = host_memory();
  KernelArray<uint8_t> window(memory, kBytes, MemoryUse::shared_window);
  auto* opened = static_cast<uint8_t*>(memory.open(memory.share(window.data())));
  window.data()[5] = 5;
  window = {};
  CHECK(opened[5] == 5);
  opened[kBytes - 1] = 1;
  memory.close(opened);
}

TEST_CASE("windows leave no name and no open file", "[windows]") {
  const std::ptrdiff_t before = open_files();
  {
    KernelMemory& memory = host_memory();
    const KernelArray<uint8_t> window(memory, kBytes, MemoryUse::shared_window);
    void* opened = memory.open(memory.share(window.data()));
    CHECK(open_files() == before + 1);  // a mapping needs none
    memory.close(opened);
    memory.close(opened);  // not open any more
  }
  CHECK(open_files() == before);
}

TEST_CASE("a handle whose window is gone opens nothing else", "[windows]") {
  KernelMemory& memory = host_memory();
  KernelArray<uint8_t> window(memory, kBytes, MemoryUse::shared_window);
  const WindowHandle handle = memory.share(window.data());
  window = {};
  CHECK_THAT(refusal_of([&] { memory.open(handle); }), contains("opening a window through /proc/"));
  // The same descriptor again, but another window.
  const KernelArray<uint8_t> other(memory, kBytes, MemoryUse::shared_window);
  CHECK_THAT(refusal_of([&] { memory.open(handle); }), contains("it is gone"));
}

TEST_CASE("only shared windows can be shared", "[windows]") {
  KernelMemory& memory = host_memory();
  const KernelArray<uint8_t> window(memory, kBytes, MemoryUse::window);
  CHECK_THAT(refusal_of([&] { memory.share(window.data()); }), contains("not a shared window"));
}

TEST_CASE("a kind of memory that cannot be shared says so", "[windows]") {
  class Plain : public KernelMemory {
    void* allocate(size_t, MemoryUse) override { return nullptr; }
    void release(void*, size_t, MemoryUse) noexcept override {}
    void write(void*, const void*, size_t) override {}
    void read(void*, const void*, size_t) override {}
    bool host_reachable() const override { return true; }
  };
  Plain plain;
  KernelMemory& memory = plain;
  CHECK(memory.sharing_domain() == 0);
  CHECK_THAT(refusal_of([&] { memory.share(nullptr); }), contains("share: other processes"));
  CHECK_THAT(refusal_of([&] { memory.open({}); }), contains("open: this kind of memory"));
}

TEST_CASE("processes of one user on one host are one domain", "[windows]") {
  const uint64_t domain = host_memory().sharing_domain();
  CHECK(domain != 0);
  CHECK(in_other_process([&] { return host_memory().sharing_domain() == domain ? 0 : 1; }) == 0);
}

}  // namespace ringer::test
