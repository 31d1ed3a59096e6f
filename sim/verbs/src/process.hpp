// SPDX-License-Identifier: Apache-2.0
// The emulated devices as one process has them open.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include <sys/stat.h>

#include <ringer/sim/verbs_host.hpp>

struct ib_uverbs_ioctl_hdr;

namespace ringer::sim::verbs {

/// The host to drive whenever the application takes a look; null while it has no device open.
/// Before any constructor has run it is null, too.
inline constinit std::atomic<VerbsHost*> driven_host{nullptr};

/// How many devices this process has opened and not closed yet: where it is 0, no descriptor is one
/// of ours.
inline constinit std::atomic<uint32_t> open_devices{0};

/// open() of /dev/infiniband/uverbs<number>. Returns a descriptor, or -1 with errno.
int open_device(uint32_t number);
/// If `fd` is an open device: what the control call returns, errno set.
std::optional<int> control_device(int fd, ib_uverbs_ioctl_hdr& header);
/// If `status` is that of an open device, makes it that of a character device.
void disguise(struct stat& status);
/// The device's number as stat() of its node says it.
void disguise_as(uint32_t number, struct stat& status);
/// close(), which ends a context with the last descriptor of its device.
int close_descriptor(int fd);

}  // namespace ringer::sim::verbs
