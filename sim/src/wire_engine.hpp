// SPDX-License-Identifier: Apache-2.0
// Queue pairs that talk by packets: requests and answers of the InfiniBand transports over lossless
// links. Requester and responder of one NIC.
#pragma once

#include <cstdint>

#include "nic_executor.hpp"
#include "wire_packet.hpp"

namespace ringer::sim {

uint64_t now_ns();

class WireEngine {
 public:
  WireEngine(Nic& nic, NicExecutor& executor) : nic_(nic), executor_(executor) {}

  /// As NicExecutor::run(): sends up to `budget` WQEs, as far as links, READ limits and timers let
  /// it. They complete as they are acknowledged.
  uint32_t run(NicQueuePair& qp, uint32_t budget);
  /// Sends what is owed to peers. True if anything was.
  bool respond();
  void take_packet(const uint8_t* packet, uint32_t bytes);
  /// A packet for a port that there is not.
  void refuse_packet(const uint8_t* packet, uint32_t bytes);
  /// The queue pair goes, or begins anew: whoever it owes an answer hears that there is nobody.
  void leave(NicQueuePair& qp);
  /// Memory is no longer what `key` says: what is under way to or from it fails.
  void forget_key(uint32_t key);
  /// The queue pair's state has been set.
  void state_changed(NicQueuePair& qp) { tell_if_drained(qp); }
  /// A process has gone, and all that was on its way there or back.
  void forget_process(uint32_t process);
  /// The queue pair is in error: what was on its way is flushed.
  void enter_error(NicQueuePair& qp);

 private:
  using Fetched = NicExecutor::Fetched;
  using Problem = NicExecutor::Problem;
  struct Arrived {
    PacketHead head;
    BaseHeader base;
    PacketReader rest;
    GlobalHeader global{};  // if head.is_global

    // False: too short.
    bool open() {
      return rest.take(head) && (head.is_global == 0 || rest.take(global)) && rest.take(base);
    }
    PacketOp op() const { return static_cast<PacketOp>(base.opcode & 0x1f); }
    uint32_t psn() const { return base.ack_psn.value() & kPsnMask; }
    bool solicited() const { return (base.flags & kSolicitedEvent) != 0; }
  };
  enum class Sent { all, some, none };
  static constexpr uint32_t kPacketsATurn = 256;
  struct PacketPlan {
    uint32_t bytes;  // all of it
    uint32_t payload;
    bool first, last;  // of its message
    bool rdma, atomic, extended_atomic, immediate;
    bool reliable;
  };

  // wire_requester.cpp
  bool may_send(const NicQueuePair& qp) const;
  bool must_wait(const NicQueuePair& qp, const Fetched& wqe) const;
  Sent send_message(NicQueuePair& qp);
  bool send_packet(NicQueuePair& qp, bool* stalled);
  PacketPlan plan_packet(const NicQueuePair& qp) const;
  static void write_headers(const NicQueuePair& qp, const PacketPlan& plan, PacketWriter& writer);
  uint8_t opcode_of(const NicQueuePair& qp, bool first, bool last) const;
  uint8_t* begin_packet(Qpn remote_qpn, uint16_t remote_lid, const NicQueuePair& qp, uint32_t bytes,
                        uint8_t opcode, uint32_t flags_psn, bool solicited, bool* nobody);
  void close_message(NicQueuePair& qp);

  // wire_messages.cpp
  Problem open_message(NicQueuePair& qp, const Fetched& wqe);
  Problem open_operands(NicQueuePair& qp, const Fetched& wqe);
  Problem open_datagram(const NicQueuePair& qp, uint32_t& segment);
  Problem open_atomic(NicQueuePair& qp, const Fetched& wqe, uint32_t segment);
  void perform_locally(NicQueuePair& qp, const Fetched& wqe);
  Problem bind_window(const NicQueuePair& qp, const Fetched& wqe);

  // wire_answers.cpp
  void take_answer(NicQueuePair& qp, Arrived& packet);
  bool acknowledge(NicQueuePair& qp, uint32_t psn);
  void tell_if_drained(NicQueuePair& qp);
  void flush_incoming(NicQueuePair& qp);
  void take_returned(NicQueuePair& qp, uint32_t psn, const uint8_t* data, uint32_t bytes,
                     bool last);
  void take_nak(NicQueuePair& qp, uint32_t psn, uint8_t syndrome);
  void rewind_to(NicQueuePair& qp, uint64_t index, uint32_t psn);
  void try_again(NicQueuePair& qp, uint32_t psn, uint64_t wait_ns, uint8_t& left, bool endless,
                 mlx5::Syndrome exceeded);
  void nobody_there(NicQueuePair& qp);
  void fail_at(NicQueuePair& qp, uint32_t psn, mlx5::Syndrome syndrome);

  // wire_responder.cpp
  void take_request(NicQueuePair& qp, Arrived& packet);
  void miss(NicQueuePair& qp, const Arrived& packet);
  void resynchronise(NicQueuePair& qp, const Arrived& packet);
  void take_send(NicQueuePair& qp, NicReceiveQueue& queue, Arrived& packet, Be32 imm);
  void take_write(NicQueuePair& qp, NicReceiveQueue& queue, Arrived& packet, Be32 imm);
  bool begin_receive(NicQueuePair& qp, NicReceiveQueue& queue);
  // The sender's lid, where there are any.
  static uint16_t slid_of(const NicQueuePair& qp, const Arrived& packet) {
    return qp.wire->setup.link == LinkLayer::infiniband ? packet.head.slid : uint16_t{0};
  }
  void complete_receive(NicQueuePair& qp, const Arrived& packet, mlx5::CqeOpcode opcode, Be32 imm);
  void end_message(NicQueuePair& qp, const Arrived& packet);
  /// Do the queue pair's rights and the key's range allow it? Then `at` is where; an empty request
  /// needs the right only.
  bool allows(const NicQueuePair& qp, const MemoryKeys::Want& want, uint8_t** at) const;
  void refuse(NicQueuePair& qp, const Arrived& packet, uint8_t nak, mlx5::Syndrome receive_error);
  void not_ready(NicQueuePair& qp, const Arrived& packet);
  NicReceiveQueue* receive_queue_of(NicQueuePair& qp, Arrived& packet);

  // wire_reads.cpp
  void take_read(NicQueuePair& qp, Arrived& packet);
  void take_atomic(NicQueuePair& qp, Arrived& packet);
  void take_extended_atomic(NicQueuePair& qp, Arrived& packet);
  void perform_atomic(NicQueuePair& qp, const Arrived& packet, uint64_t address, uint32_t rkey,
                      const AtomicKind& kind, const uint8_t* operands);
  void take_datagram(NicQueuePair& qp, Arrived& packet);
  static uint32_t grh_flags_of(const Arrived& packet);

  // wire_responses.cpp
  void owe(NicQueuePair& qp, const Arrived& packet, const Response& response);
  bool answer(NicQueuePair& qp);
  bool answer_with(NicQueuePair& qp, Response& response);
  void say_nobody(NicQueuePair* qp, const Arrived& packet);
  void owe_nobody(const PacketHead& refused, Qpn qpn, uint32_t psn);
  bool send_nobody(const Nic::Refusal& refusal);

  Nic& nic_;
  NicExecutor& executor_;
};

}  // namespace ringer::sim
