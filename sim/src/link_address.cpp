// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include <ringer/sim/link_address.hpp>
#include <ringer/sim/verbs_host.hpp>

namespace ringer::sim {

namespace {

constexpr uint8_t kLinkLocal[] = {0xfe, 0x80, 0, 0, 0, 0, 0, 0};
constexpr uint8_t kIpv4Prefix[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr uint8_t kBenchmarkNetwork[] = {198, 18};
// Locally administered, in the form of a MAC address and in that of an EUI-64.
constexpr uint8_t kMacPrefix[] = {0x02, 0x52, 0x4e, 0x00};
constexpr uint8_t kGuidPrefix[] = {0x02, 0x52, 0x4e, 0xff, 0xfe, 0x00};
constexpr uint8_t kLocallyAdministered = 0x02;  // in the first byte; an interface id inverts it

struct PortOfHost {
  uint8_t nic;
  uint8_t port;  // from 1
};

PortOfHost port_of(uint16_t lid) {
  const uint32_t ordinal = lid - 1u;
  return {static_cast<uint8_t>(ordinal / VerbsHost::kMaxPorts),
          static_cast<uint8_t>(ordinal % VerbsHost::kMaxPorts + 1)};
}

uint16_t lid_if_any(uint8_t nic, uint8_t port) {
  if (nic >= VerbsHost::kMaxNics || port == 0 || port > VerbsHost::kMaxPorts) return kNoLid;
  return VerbsHost::lid_of(nic, port);
}

template <size_t kBytes>
uint8_t* put(uint8_t* at, const uint8_t (&bytes)[kBytes]) {
  return std::copy_n(bytes, kBytes, at);
}

void put16(uint8_t* at, uint32_t value) {
  const Be16 big = Be16::of(static_cast<uint16_t>(value));
  std::memcpy(at, &big, sizeof(big));
}

// RFC 1071.
uint16_t internet_checksum(const uint8_t* at, size_t bytes) {
  uint32_t sum = 0;
  for (size_t i = 0; i < bytes; i += 2) sum += static_cast<uint32_t>(at[i] << 8 | at[i + 1]);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

constexpr uint32_t kIpv4Bytes = 20;

// What the wire carries behind the header, with what the links here leave out: the UDP header, the
// pad to whole words and the invariant checksum.
uint32_t payload_bytes(const GlobalRoute& route) {
  constexpr uint32_t kUdpBytes = 8;
  constexpr uint32_t kChecksumBytes = 4;
  const uint32_t udp = route.from.type == GidType::roce_v2 ? kUdpBytes : 0;
  return udp + (route.transport_bytes + 3) / 4 * 4 + kChecksumBytes;
}

void put_ipv4(uint8_t* at, const GlobalRoute& route) {
  constexpr uint8_t kVersionAndWords = 0x45;
  constexpr uint32_t kDontFragment = 0x4000;
  at[0] = kVersionAndWords;
  at[1] = route.traffic_class;
  put16(at + 2, kIpv4Bytes + payload_bytes(route));
  put16(at + 6, kDontFragment);
  at[8] = route.hop_limit;
  at[9] = kUdpProtocol;
  std::copy_n(route.from.raw.data() + sizeof(kIpv4Prefix), 4, at + 12);
  std::copy_n(route.to.data() + sizeof(kIpv4Prefix), 4, at + 16);
  put16(at + 10, internet_checksum(at, kIpv4Bytes));
}

void put_ipv6(uint8_t* at, const GlobalRoute& route) {
  constexpr uint32_t kVersion = 6u << 28;
  constexpr uint8_t kInfiniBandTransport = 0x1b;
  const Be32 first =
      Be32::of(kVersion | uint32_t{route.traffic_class} << 20 | (route.flow_label & 0xfffff));
  std::memcpy(at, &first, sizeof(first));
  put16(at + 4, payload_bytes(route));
  at[6] = route.from.type == GidType::roce_v2 ? kUdpProtocol : kInfiniBandTransport;
  at[7] = route.hop_limit;
  std::copy(route.from.raw.begin(), route.from.raw.end(), at + 8);
  std::copy(route.to.begin(), route.to.end(), at + 24);
}

}  // namespace

bool is_ipv4(const uint8_t* raw) { return std::memcmp(raw, kIpv4Prefix, sizeof(kIpv4Prefix)) == 0; }

bool is_link_local(const uint8_t* raw) { return raw[0] == 0xfe && (raw[1] & 0xc0) == 0x80; }

MacAddress mac_of(uint16_t lid) {
  const PortOfHost port = port_of(lid);
  MacAddress mac;
  uint8_t* at = put(mac.data(), kMacPrefix);
  at[0] = port.nic;
  at[1] = port.port;
  return mac;
}

uint16_t lid_of_mac(const uint8_t* mac) {
  if (std::memcmp(mac, kMacPrefix, sizeof(kMacPrefix)) != 0) return kNoLid;
  return lid_if_any(mac[sizeof(kMacPrefix)], mac[sizeof(kMacPrefix) + 1]);
}

Gid gid_of(LinkLayer link, uint16_t lid, uint32_t index) {
  const PortOfHost port = port_of(lid);
  Gid gid;
  uint8_t* at = gid.raw.data();
  if (link == LinkLayer::ethernet) {
    gid.type = index % 2 == 0 ? GidType::roce_v1 : GidType::roce_v2;
  }
  if (index >= 2) {
    at = put(put(at, kIpv4Prefix), kBenchmarkNetwork);
  } else {
    at = put(at, kLinkLocal);
    at = put(at, kGuidPrefix);
    if (link == LinkLayer::ethernet) gid.raw[sizeof(kLinkLocal)] ^= kLocallyAdministered;
  }
  at[0] = port.nic;
  at[1] = port.port;
  return gid;
}

uint16_t lid_of_gid(LinkLayer link, const uint8_t* raw) {
  const uint16_t lid = lid_if_any(raw[14], raw[15]);
  for (uint32_t index = 0; lid != kNoLid && index < gid_count(link); ++index) {
    const Gid gid = gid_of(link, lid, index);
    if (std::equal(gid.raw.begin(), gid.raw.end(), raw)) return lid;
  }
  return kNoLid;
}

MacAddress mac_of_link_local(const uint8_t* raw) {
  const uint8_t* id = raw + sizeof(kLinkLocal);
  return {static_cast<uint8_t>(id[0] ^ kLocallyAdministered), id[1], id[2], id[5], id[6], id[7]};
}

GlobalHeader global_header(const GlobalRoute& route) {
  GlobalHeader header{};
  if (route.from.type == GidType::roce_v2 && is_ipv4(route.from.raw.data())) {
    put_ipv4(header.data() + header.size() - kIpv4Bytes, route);
  } else {
    put_ipv6(header.data(), route);
  }
  return header;
}

}  // namespace ringer::sim
