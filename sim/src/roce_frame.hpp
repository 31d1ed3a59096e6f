// SPDX-License-Identifier: Apache-2.0
// A packet between NICs as RoCE v2 puts it on an Ethernet.
#pragma once

#include <cstdint>
#include <vector>

#include "wire_packet.hpp"

namespace ringer::sim {

/// Ethernet, IPv4 and UDP headers, the transport's headers and payload padded to whole words, the
/// invariant checksum. Ports have the addresses that their GID of index 3 says, whatever the link
/// layer. Empty for packets that no standard has: extended atomics, and what a link says of itself.
std::vector<uint8_t> roce_frame(const uint8_t* packet);

/// CRC-32 as in Ethernet over the fields that no router changes (IBA volume 1, annex A17.3), to be
/// stored little endian. `ip` begins an IPv4 packet of `bytes`, without the checksum itself.
uint32_t invariant_crc(const uint8_t* ip, size_t bytes);

}  // namespace ringer::sim
