// SPDX-License-Identifier: Apache-2.0
// Where librdmacm finds a RoCE port.
#pragma once

#include <cstdint>
#include <cstring>

#include <netinet/in.h>
#include <sys/socket.h>

namespace ringer::verbs {

/// A RoCE GID is an IP address (InfiniBand Architecture, annex A17). `interface` is the network
/// device's number, which link-local addresses need.
inline sockaddr_storage ip_of(const uint8_t (&gid)[16], uint16_t port, uint32_t interface) {
  constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  sockaddr_storage storage{};
  if (std::memcmp(gid, kMapped, sizeof(kMapped)) == 0) {
    auto& v4 = reinterpret_cast<sockaddr_in&>(storage);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&v4.sin_addr, gid + sizeof(kMapped), sizeof(v4.sin_addr));
    return storage;
  }
  auto& v6 = reinterpret_cast<sockaddr_in6&>(storage);
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  std::memcpy(&v6.sin6_addr, gid, sizeof(v6.sin6_addr));
  if (IN6_IS_ADDR_LINKLOCAL(&v6.sin6_addr)) v6.sin6_scope_id = interface;
  return storage;
}

}  // namespace ringer::verbs
