// SPDX-License-Identifier: Apache-2.0
// Packets between NICs: the transport headers of InfiniBand (volume 1, chapter 9) as RoCE v2
// carries them, behind a short head in place of Ethernet, IP and UDP.
#pragma once

#include <cstdint>
#include <cstring>

#include <ringer/sim/link_address.hpp>
#include <ringer/types.hpp>

namespace ringer::sim {

inline constexpr uint32_t kPsnMask = 0xffffff;
/// -1, 0, 1: how `a` lies to `b` in the circle of packet sequence numbers.
constexpr int compare_psn(uint32_t a, uint32_t b) {
  const uint32_t ahead = (a - b) & kPsnMask;
  return ahead == 0 ? 0 : ahead < 0x800000 ? 1 : -1;
}

/// The low five bits of a BTH opcode; the upper three name the transport.
enum class PacketOp : uint8_t {
  send_first = 0x00,
  send_middle = 0x01,
  send_last = 0x02,
  send_last_imm = 0x03,
  send_only = 0x04,
  send_only_imm = 0x05,
  write_first = 0x06,
  write_middle = 0x07,
  write_last = 0x08,
  write_last_imm = 0x09,
  write_only = 0x0a,
  write_only_imm = 0x0b,
  read_request = 0x0c,
  read_response_first = 0x0d,
  read_response_middle = 0x0e,
  read_response_last = 0x0f,
  read_response_only = 0x10,
  acknowledge = 0x11,
  atomic_acknowledge = 0x12,
  compare_swap = 0x13,
  fetch_add = 0x14,
  send_last_invalidate = 0x16,
  send_only_invalidate = 0x17,
};

inline constexpr uint8_t kRcPackets = 0x00;
inline constexpr uint8_t kUcPackets = 0x20;
inline constexpr uint8_t kUdPackets = 0x60;
inline constexpr uint8_t kXrcPackets = 0xa0;
/// The manufacturer's part of the opcodes: extended atomics, and what a link says of itself.
inline constexpr uint8_t kExtendedAtomicPacket = 0xd3;
inline constexpr uint8_t kNobodyPacket = 0xd1;  ///< no queue pair takes packets for this number

/// In place of the lower layers.
struct PacketHead {
  uint32_t bytes;  ///< head and all
  uint16_t slid;
  uint16_t dlid;
  uint32_t source_qpn;
  uint16_t attempt;    ///< of the requester; a refusal brings it back
  uint16_t is_global;  ///< a GlobalHeader follows, of datagrams only
};

struct BaseHeader {  // BTH
  uint8_t opcode;
  uint8_t flags;  ///< solicited event 0x80, migration 0x40
  Be16 pkey;
  Be32 remote_qpn;
  Be32 ack_psn;  ///< bit 31: please acknowledge
};
inline constexpr uint8_t kSolicitedEvent = 0x80;
inline constexpr uint32_t kAckRequest = 0x80000000u;

struct RdmaHeader {  // RETH
  Be32 address[2];
  Be32 rkey;
  Be32 bytes;
};

struct AtomicHeader {  // AtomicETH
  Be32 address[2];
  Be32 rkey;
  uint8_t operands[16];  ///< swap or add, compare; both big-endian
};

struct ExtendedAtomicHeader {
  Be32 address[2];
  Be32 rkey;
  uint8_t is_add;
  uint8_t bytes;  ///< 4 or 8
  uint8_t reserved[2];
  uint8_t operands[32];  ///< as in the WQE
};

struct DatagramHeader {  // DETH
  Be32 qkey;
  Be32 source_qpn;
};

struct AckHeader {  // AETH
  Be32 syndrome_msn;
};

/// AETH syndromes: the kind in bits 6 and 5, credits, a timer or a NAK code below.
inline constexpr uint8_t kAckSyndrome = 0x1f;  ///< credits are not counted
inline constexpr uint8_t kRnrSyndrome = 0x20;
inline constexpr uint8_t kNakSequence = 0x60;
inline constexpr uint8_t kNakInvalidRequest = 0x61;
inline constexpr uint8_t kNakRemoteAccess = 0x62;
inline constexpr uint8_t kNakRemoteOperation = 0x63;

static_assert(sizeof(PacketHead) == 16 && sizeof(BaseHeader) == 12 && sizeof(RdmaHeader) == 16);
static_assert(sizeof(AtomicHeader) == 28 && sizeof(DatagramHeader) == 8);

inline constexpr uint32_t kHeadBytes = sizeof(PacketHead) + sizeof(BaseHeader);
inline constexpr uint32_t kMaxPacketBytes = 4096 + 128;

/// Appends headers to a packet under construction.
class PacketWriter {
 public:
  explicit PacketWriter(uint8_t* at) : at_(at) {}
  template <class Header>
  void put(const Header& header) {
    std::memcpy(at_, &header, sizeof(header));
    at_ += sizeof(header);
  }
  uint8_t* rest() const { return at_; }

 private:
  uint8_t* at_;
};

/// A packet that has arrived; take() runs through its headers.
class PacketReader {
 public:
  PacketReader(const uint8_t* packet, uint32_t bytes) : at_(packet), end_(packet + bytes) {}
  /// False if the packet is too short.
  template <class Header>
  bool take(Header& header) {
    if (left() < sizeof(header)) return false;
    std::memcpy(&header, at_, sizeof(header));
    at_ += sizeof(header);
    return true;
  }
  const uint8_t* rest() const { return at_; }
  uint32_t left() const { return static_cast<uint32_t>(end_ - at_); }

 private:
  const uint8_t* at_;
  const uint8_t* end_;
};

inline uint64_t address_in(const Be32 (&words)[2]) {
  return (uint64_t{words[0].value()} << 32) | words[1].value();
}

}  // namespace ringer::sim
