// SPDX-License-Identifier: Apache-2.0
// The C library's functions that make an open device work: ioctl, close, and the unlock that tells
// that the application has posted or is about to look.
#include <cerrno>
#include <cstdarg>

#include <linux/netlink.h>
#include <pthread.h>
#include <rdma/rdma_user_ioctl_cmds.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "process.hpp"
#include "real.hpp"

using namespace ringer::sim::verbs;

RINGER_EXPORT int ioctl(int fd, unsigned long request, ...) noexcept {
  va_list arguments;
  va_start(arguments, request);
  void* argument = va_arg(arguments, void*);
  va_end(arguments);
  if (request == RDMA_VERBS_IOCTL && argument != nullptr) {
    if (const auto result = control_device(fd, *static_cast<ib_uverbs_ioctl_hdr*>(argument))) {
      return *result;
    }
  }
  return real::ioctl(fd, request, argument);
}

RINGER_EXPORT int close(int fd) { return close_descriptor(fd); }

// The kernel may have InfiniBand, but not these devices: libibverbs asks it first, and goes by
// sysfs where it gets no answer.
RINGER_EXPORT int socket(int domain, int type, int protocol) noexcept {
  if (domain == AF_NETLINK && protocol == NETLINK_RDMA) {
    errno = EPROTONOSUPPORT;
    return -1;
  }
  return real::socket(domain, type, protocol);
}

// libmlx5 leaves such a lock when it has posted, and each time it has looked for a completion.
RINGER_EXPORT int pthread_spin_unlock(pthread_spinlock_t* lock) noexcept {
  const int result = real::pthread_spin_unlock(lock);
  if (ringer::sim::VerbsHost* host = driven_host.load(std::memory_order_relaxed)) {
    const int before = errno;  // who unlocks does not expect it to change
    host->drive();
    errno = before;
  }
  return result;
}
