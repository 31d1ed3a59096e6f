// SPDX-License-Identifier: Apache-2.0
#include "roce_frame.hpp"

#include <algorithm>

#include <boost/crc.hpp>

namespace ringer::sim {

namespace {

constexpr uint32_t kEthernetBytes = 14;
constexpr uint32_t kIpBytes = 20;
constexpr uint32_t kUdpBytes = 8;
constexpr uint32_t kIcrcBytes = 4;
constexpr uint16_t kRocePort = 4791;
constexpr uint16_t kDynamicPorts = 0xc000;  // the source port tells flows apart
constexpr uint32_t kIpv4Gid = 3;
constexpr uint8_t kHopLimit = 64;
constexpr uint32_t kPadShift = 4;  // of BaseHeader::flags

void put16(uint8_t* at, uint32_t value) {
  const Be16 big = Be16::of(static_cast<uint16_t>(value));
  std::memcpy(at, &big, sizeof(big));
}

void put_ethernet(uint8_t* at, uint16_t from, uint16_t to) {
  constexpr uint32_t kIpv4Type = 0x0800;
  const MacAddress target = mac_of(to), source = mac_of(from);
  std::copy(target.begin(), target.end(), at);
  std::copy(source.begin(), source.end(), at + 6);
  put16(at + 12, kIpv4Type);
}

}  // namespace

uint32_t invariant_crc(const uint8_t* ip, size_t bytes) {
  constexpr size_t kBth = kIpBytes + kUdpBytes;
  constexpr size_t kChanging[] = {1,
                                  8,
                                  10,
                                  11,  // TOS, TTL, checksum
                                  kIpBytes + 6,
                                  kIpBytes + 7,
                                  kBth + 4};  // UDP's, reserved
  uint8_t head[kBth + 5];
  std::copy_n(ip, sizeof(head), head);
  for (const size_t at : kChanging) head[at] = 0xff;
  constexpr uint8_t kNoRoute[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  boost::crc_32_type crc;
  crc.process_bytes(kNoRoute, sizeof(kNoRoute));
  crc.process_bytes(head, sizeof(head));
  crc.process_bytes(ip + sizeof(head), bytes - sizeof(head));
  return crc.checksum();
}

std::vector<uint8_t> roce_frame(const uint8_t* packet) {
  PacketHead head;
  std::memcpy(&head, packet, sizeof(head));
  const uint32_t skipped = sizeof(head) + (head.is_global != 0 ? sizeof(GlobalHeader) : 0);
  const uint8_t* transport = packet + skipped;
  if (transport[0] == kNobodyPacket || transport[0] == kExtendedAtomicPacket) return {};
  const uint32_t bytes = head.bytes - skipped;
  const uint32_t pad = (0u - bytes) & 3;
  std::vector<uint8_t> frame(kEthernetBytes + kIpBytes + kUdpBytes + bytes + pad + kIcrcBytes);
  put_ethernet(frame.data(), head.slid, head.dlid);
  uint8_t* ip = frame.data() + kEthernetBytes;
  GlobalRoute route{};
  route.from = gid_of(LinkLayer::ethernet, head.slid, kIpv4Gid);
  const Gid to = gid_of(LinkLayer::ethernet, head.dlid, kIpv4Gid);
  std::copy(to.raw.begin(), to.raw.end(), route.to.begin());
  route.hop_limit = kHopLimit;
  route.transport_bytes = bytes;
  const GlobalHeader header = global_header(route);
  std::copy(header.end() - kIpBytes, header.end(), ip);
  uint8_t* udp = ip + kIpBytes;
  put16(udp, kDynamicPorts | (head.source_qpn & 0x3fff));
  put16(udp + 2, kRocePort);
  put16(udp + 4, kUdpBytes + bytes + pad + kIcrcBytes);
  uint8_t* bth = udp + kUdpBytes;
  std::copy_n(transport, bytes, bth);
  bth[1] = static_cast<uint8_t>(bth[1] | pad << kPadShift);
  uint8_t* end = bth + bytes + pad;
  const uint32_t crc = invariant_crc(ip, static_cast<size_t>(end - ip));
  for (uint32_t i = 0; i < kIcrcBytes; ++i) end[i] = static_cast<uint8_t>(crc >> (8 * i));
  return frame;
}

}  // namespace ringer::sim
