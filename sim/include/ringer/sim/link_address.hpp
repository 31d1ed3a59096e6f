// SPDX-License-Identifier: Apache-2.0
// By what names the ports of emulated NICs go on their link. All of them follow from the lid, so
// that nobody has to be asked where an address leads.
#pragma once

#include <array>
#include <cstdint>

#include <ringer/types.hpp>

namespace ringer::sim {

/// Numbered as in ibv_port_attr.
enum class LinkLayer : uint8_t { infiniband = 1, ethernet = 2 };

/// Numbered as ib_uverbs_gid_type.
enum class GidType : uint8_t { infiniband, roce_v1, roce_v2 };

using RawGid = std::array<uint8_t, 16>;
using MacAddress = std::array<uint8_t, 6>;

struct Gid {
  RawGid raw{};
  GidType type = GidType::infiniband;
};

inline constexpr uint16_t kNoLid = 0;

/// Entries of a port's GID table that are in use. On Ethernet the link-local address and the IPv4
/// one 198.18.DEVICE.PORT (the network for benchmarks, RFC 2544), each for RoCE v1 and v2.
constexpr uint32_t gid_count(LinkLayer link) { return link == LinkLayer::ethernet ? 4 : 1; }
/// `index` is below gid_count().
Gid gid_of(LinkLayer link, uint16_t lid, uint32_t index);
/// The lid of the port that has this GID; kNoLid: none has.
uint16_t lid_of_gid(LinkLayer link, const uint8_t* raw);
/// Whether a GID stands for an IPv4 address, or for a link-local one.
bool is_ipv4(const uint8_t* raw);
bool is_link_local(const uint8_t* raw);
/// 02:52:4e:00:DEVICE:PORT
MacAddress mac_of(uint16_t lid);
uint16_t lid_of_mac(const uint8_t* mac);
/// The MAC address that a link-local GID has been made of.
MacAddress mac_of_link_local(const uint8_t* raw);

/// What stands in front of a received datagram: a GRH, or 20 bytes of nothing and an IPv4 header.
inline constexpr uint32_t kGlobalHeaderBytes = 40;
inline constexpr uint8_t kUdpProtocol = 17;  ///< what is behind it on RoCE v2
using GlobalHeader = std::array<uint8_t, kGlobalHeaderBytes>;

struct GlobalRoute {
  Gid from;
  RawGid to{};
  uint32_t flow_label = 0;
  uint8_t traffic_class = 0;
  uint8_t hop_limit = 0;
  uint32_t transport_bytes = 0;  ///< base transport header to the end of the data
};
GlobalHeader global_header(const GlobalRoute& route);
}  // namespace ringer::sim
