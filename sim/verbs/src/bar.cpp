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
// Up to this many pages of device memory their index is the offset's low byte.
constexpr uint32_t kFirstMemoryPage = MLX5_IB_MMAP_DEVICE_MEM << 8;
static_assert(kFirstMemoryPage > kClockPage && Bar::kMemoryPages <= 256);
constexpr uint32_t kOwnerPage = kFirstMemoryPage + Bar::kMemoryPages;
static_assert(Bar::kMemoryPages * sizeof(std::atomic<uint32_t>) <= Bar::kPageBytes);
constexpr size_t kBytes = size_t{kOwnerPage + 1} * Bar::kPageBytes;

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

// A child of fork() has the same file, and allocates from it by itself: therefore the file says who
// has what. All zeros is what a new one is full of: nobody.
Bar::Owner& Bar::owner_of(uint32_t memory_page) const {
  return static_cast<Owner*>(at(kOwnerPage))[memory_page];
}

uint32_t Bar::allocate_memory(uint32_t pages) {
  const auto process = static_cast<uint32_t>(getpid());
  for (uint32_t first = 0; first + pages <= kMemoryPages;) {
    uint32_t claimed = 0;
    for (uint32_t nobody = 0; claimed < pages; ++claimed) {
      if (!owner_of(first + claimed).compare_exchange_strong(nobody, process)) break;
    }
    if (claimed == pages) {
      std::memset(memory(first), 0, size_t{pages} * kPageBytes);
      return first;
    }
    release_memory(first, claimed);
    first += claimed + 1;
  }
  refuse(ENOMEM);
}

void Bar::release_memory(uint32_t first, uint32_t pages) {
  for (uint32_t page = first; page < first + pages; ++page) {
    auto process = static_cast<uint32_t>(getpid());
    owner_of(page).compare_exchange_strong(process, 0);
  }
}

uint8_t* Bar::memory(uint32_t first) const {
  return static_cast<uint8_t*>(at(kFirstMemoryPage + first));
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
