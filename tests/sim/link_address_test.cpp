// SPDX-License-Identifier: Apache-2.0
#include <set>

#include <ringer/sim/link_address.hpp>
#include <ringer/sim/verbs_host.hpp>

#include "support/catch.hpp"

using namespace ringer::sim;

namespace {

constexpr uint16_t kLastLid = VerbsHost::kMaxNics * VerbsHost::kMaxPorts;

}  // namespace

TEST_CASE("link addresses: each leads back to its port, and no two ports share one", "[sim]") {
  for (const LinkLayer link : {LinkLayer::infiniband, LinkLayer::ethernet}) {
    std::set<RawGid> seen;
    for (uint16_t lid = 1; lid <= kLastLid; ++lid) {
      CAPTURE(lid);
      for (uint32_t index = 0; index < gid_count(link); ++index) {
        const Gid gid = gid_of(link, lid, index);
        CHECK(lid_of_gid(link, gid.raw.data()) == lid);
        seen.insert(gid.raw);
      }
      CHECK(lid_of_mac(mac_of(lid).data()) == lid);
    }
    // RoCE v1 and v2 share an address.
    CHECK(seen.size() == kLastLid * (link == LinkLayer::ethernet ? 2u : 1u));
  }
}

TEST_CASE("link addresses: what is nobody's leads nowhere", "[sim]") {
  Gid gid = gid_of(LinkLayer::ethernet, 1, 3);
  CHECK(is_ipv4(gid.raw.data()));
  gid.raw[15] = 0;  // ports count from 1
  CHECK(lid_of_gid(LinkLayer::ethernet, gid.raw.data()) == kNoLid);
  gid.raw[15] = VerbsHost::kMaxPorts + 1;
  CHECK(lid_of_gid(LinkLayer::ethernet, gid.raw.data()) == kNoLid);
  const Gid other = gid_of(LinkLayer::ethernet, 1, 0);
  CHECK(lid_of_gid(LinkLayer::infiniband, other.raw.data()) == kNoLid);
  MacAddress mac = mac_of(5);
  mac[0] ^= 1;
  CHECK(lid_of_mac(mac.data()) == kNoLid);
}

// The link-local GID of RoCE is made of the MAC address (EUI-64, the local bit inverted).
TEST_CASE("link addresses: the link-local GID follows from the MAC address", "[sim]") {
  const MacAddress mac = mac_of(6);
  const RawGid gid = gid_of(LinkLayer::ethernet, 6, 1).raw;
  const RawGid expected = {
      0xfe,   0x80,   0,    0,    0,      0,      0,     0, static_cast<uint8_t>(mac[0] ^ 2),
      mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]};
  CHECK(gid == expected);
  CHECK(mac_of_link_local(gid.data()) == mac);
}

// The example of RFC 1071's users: the header's 16-bit words, checksum and all, add up to all ones.
TEST_CASE("link addresses: an IPv4 header before a datagram has a right checksum", "[sim]") {
  GlobalRoute route;
  route.from = gid_of(LinkLayer::ethernet, 1, 3);
  route.to = gid_of(LinkLayer::ethernet, 8, 3).raw;
  route.traffic_class = 0x2a;
  route.hop_limit = 64;
  route.transport_bytes = 1001;
  const GlobalHeader header = global_header(route);
  uint32_t sum = 0;
  for (size_t i = 20; i < 40; i += 2) sum += static_cast<uint32_t>(header[i] << 8 | header[i + 1]);
  CHECK((sum & 0xffff) + (sum >> 16) == 0xffff);
  CHECK(header[20] == 0x45);
  CHECK((header[22] << 8 | header[23]) == 20 + 8 + 1004 + 4);
  CHECK(header[0] == 0);
}
