// SPDX-License-Identifier: Apache-2.0
// What a queue pair that talks by packets remembers: requests on their way, and what it answers.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include <ringer/mlx5/wire.hpp>
#include <ringer/sim/verbs_nic.hpp>

#include "wire_packet.hpp"

namespace ringer::sim {

/// A gather or scatter element after its checks: host memory, or bytes inside a WQE.
struct Piece {
  uint8_t* address;
  uint32_t bytes;
  uint32_t key;  ///< by which it was reached; 0: inside the WQE
};
inline constexpr uint32_t kMaxPieces = 64;

/// Pieces one after the other, as a stream.
struct PieceCursor {
  const Piece* pieces = nullptr;
  uint32_t count = 0;
  uint32_t at = 0;
  uint32_t offset = 0;

  void copy_to(uint8_t* to, uint64_t bytes);
  void copy_from(const uint8_t* from, uint64_t bytes);
  void skip(uint64_t bytes);

 private:
  template <class Copy>
  void advance(uint64_t bytes, Copy&& copy);
};

/// A WQE that has been sent and is not complete.
struct SentWqe {
  uint64_t index = 0;
  uint32_t wqebbs = 0;
  mlx5::Opcode opcode{};
  bool signaled = false;
  bool returns = false;  ///< READ or atomic: complete when its data is here
  uint32_t first_psn = 0;
  uint32_t last_psn = 0;
  uint32_t returned_bytes = 0;  ///< in all
  uint32_t received_bytes = 0;
  std::vector<Piece> scatter;
};

/// A WQE on its way into packets.
struct OutgoingMessage {
  bool open = false;
  uint8_t wqe[1024];  ///< inline data lies here
  Piece pieces[kMaxPieces];
  PieceCursor cursor;
  uint64_t total = 0;
  uint64_t done = 0;
  bool begun = false;  ///< its first packet is out
  SentWqe sent;
  Qpn remote_qpn = 0;
  uint16_t remote_lid = 0;
  uint32_t qkey = 0;
  uint32_t xrc_srqn = 0;
  uint64_t remote_address = 0;
  uint32_t rkey = 0;
  Be32 imm{};
  bool solicited = false;
  bool has_grh = false;
  mlx5::AddressVector address{};
  uint8_t operands[32];  ///< of an atomic, as in its WQE
};

/// What a responder owes its peer, in the order of the requests.
struct Response {
  enum class Kind : uint8_t { ack, nak, read, atomic, nobody };
  Kind kind = Kind::ack;
  uint8_t syndrome = 0;  ///< of the AETH
  uint32_t psn = 0;      ///< of the request; of a READ's next packet
  uint32_t msn = 0;
  const uint8_t* data = nullptr;  ///< READ
  uint32_t rkey = 0;              ///< READ
  uint64_t left = 0;
  bool begun = false;
  uint64_t value = 0;    ///< atomic
  PacketHead request{};  ///< of the packet that it answers
};

/// A message of several packets that has begun to arrive.
struct IncomingMessage {
  bool open = false;
  bool is_write = false;
  bool has_receive = false;  ///< a receive WQE has been taken for it
  uint8_t* write_at = nullptr;
  uint32_t rkey = 0;
  uint64_t write_left = 0;
  Piece pieces[kMaxPieces];
  PieceCursor cursor;
  uint64_t room = 0;
  mlx5::Syndrome receive_error{};  ///< of its receive WQE
  uint64_t total = 0;
  uint64_t receive_index = 0;
  uint32_t first_psn = 0;
  uint32_t user_index = 0;
  class NicCompletionQueue* cq = nullptr;
};

struct WireQueuePair {
  VerbsQueuePairSetup setup;
  VerbsQueuePairAttributes attributes;
  // As requester.
  OutgoingMessage message;
  std::deque<SentWqe> sent;
  uint32_t next_psn = 0;
  uint32_t reads = 0;  ///< READs and atomics among `sent`
  uint8_t retries_left = 0;
  uint8_t rnr_retries_left = 0;
  uint16_t attempt = 0;          ///< counts rewinds: a late refusal of an earlier one is no news
  uint64_t resume_ns = 0;        ///< nothing is sent before
  uint64_t full_since_ns = 0;    ///< its link has had no room since then; 0: it has
  uint64_t unrung_since_ns = 0;  ///< the record is ahead and nobody has rung; 0: it is not
  // As responder.
  uint32_t expected_psn = 0;
  uint32_t msn = 0;
  IncomingMessage incoming;
  std::deque<Response> responses;
  bool responding = false;  ///< in the NIC's list
  bool established = false;
  /// The requester's attempt whose gap has been refused, so that it is refused once.
  uint16_t refused_attempt = 0;
  bool refused = false;
  bool drained = false;  ///< in SQD: it has been told
};

}  // namespace ringer::sim
