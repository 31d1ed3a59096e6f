// SPDX-License-Identifier: Apache-2.0
#include "bar.hpp"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include <rdma/mlx5-abi.h>
#include <sys/mman.h>
#include <unistd.h>

#include "real.hpp"
#include "verbs_error.hpp"

namespace ringer::sim::verbs {

namespace {

// The driver's mmap offsets are a command and an index in pages; this command's is behind the UARs.
constexpr uint32_t kClockPage = MLX5_IB_MMAP_CLOCK_INFO << 8 | MLX5_IB_CLOCK_INFO_V1;
static_assert(kClockPage >= Bar::kPages);
constexpr size_t kBytes = size_t{kClockPage + 1} * Bar::kPageBytes;

template <class Clock>
uint64_t nanoseconds() {
  return static_cast<uint64_t>(std::chrono::nanoseconds(Clock::now().time_since_epoch()).count());
}

}  // namespace

Bar::Bar(const char* name) : fd_(memfd_create(name, MFD_CLOEXEC)) {
  require(fd_ >= 0, errno);
  void* pages = MAP_FAILED;
  if (ftruncate(fd_, kBytes) == 0) {
    pages = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
  }
  if (pages == MAP_FAILED) {
    const int error = errno;
    real::close(fd_);
    refuse(error);
  }
  pages_ = static_cast<uint8_t*>(pages);
  id_ = *file_id(fd_);
  set_clock();
}

Bar::~Bar() {
  if (fd_ >= 0) real::close(fd_);
  munmap(pages_, kBytes);
}

int Bar::take_fd() { return std::exchange(fd_, -1); }

uint32_t Bar::allocate() {
  for (uint32_t page = 1; page < kPages; ++page) {
    if (used_.test(page)) continue;
    used_.set(page);
    std::memset(at(page), 0, kPageBytes);
    return page;
  }
  refuse(ENOMEM);
}

// CQEs are stamped in nanoseconds of the steady clock: one of them is one "cycle".
void Bar::set_clock() const {
  mlx5_ib_clock_info clock{};
  clock.nsec = nanoseconds<std::chrono::system_clock>();
  clock.cycles = nanoseconds<std::chrono::steady_clock>();
  clock.mult = 1;
  clock.mask = ~uint64_t{0};
  std::memcpy(at(kClockPage), &clock, sizeof clock);
}

}  // namespace ringer::sim::verbs
