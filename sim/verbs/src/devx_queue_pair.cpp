// SPDX-License-Identifier: Apache-2.0
// The state machine of DEVX queue pairs: one firmware command a transition.
#include <algorithm>
#include <cerrno>
#include <iterator>

#include <ringer/control_plane.hpp>

#include "device_model.hpp"
#include "devx.hpp"
#include "qp_transitions.hpp"

namespace ringer::sim::verbs {

namespace {

namespace a = qp_attr;
using prm::Opcode;
using State = QueuePairState;

struct Command {
  Opcode opcode;
  State to;
  uint32_t connected;  ///< what it sets on a connected queue pair
  uint32_t datagram;
};

constexpr uint32_t kBinding = a::pkey_index | a::port;
constexpr uint32_t kResponder = a::address_vector | a::path_mtu | a::remote_qpn | a::receive_psn;

constexpr Command kCommands[] = {
    {Opcode::rst2init_qp, State::init, kBinding | a::access_flags, kBinding | a::qkey},
    {Opcode::init2init_qp, State::init, kBinding | a::access_flags, kBinding | a::qkey},
    {Opcode::init2rtr_qp, State::rtr, kResponder | a::max_remote_reads | a::min_rnr_timer, 0},
    {Opcode::rtr2rts_qp, State::rts,
     a::timeout | a::retry_count | a::rnr_retry | a::send_psn | a::max_reads, a::send_psn},
    {Opcode::rts2rts_qp, State::rts, 0, 0},
    {Opcode::qp_2err, State::error, 0, 0},
    {Opcode::qp_2rst, State::reset, 0, 0},
};

// What an unreliable connection has no use for.
constexpr uint32_t kReliableOnly = a::max_remote_reads | a::min_rnr_timer | a::timeout |
                                   a::retry_count | a::rnr_retry | a::max_reads;

uint32_t mask_of(const Command& command, Transport transport) {
  if (transport == Transport::ud) return command.datagram;
  return transport == Transport::uc ? command.connected & ~kReliableOnly : command.connected;
}

uint8_t reads(uint32_t log) {
  return static_cast<uint8_t>(std::min<uint32_t>(1u << log, kMaxReads));
}

ib_uverbs_modify_qp change_of(const prm::Input& command) {
  const auto get = [&](prm::Field field) { return command.get(prm::at(prm::kQpc, field)); };
  ib_uverbs_modify_qp change = InBuffer().as<ib_uverbs_modify_qp>();
  const auto right = [&](prm::Field field, uint32_t bit) { return get(field) != 0 ? bit : 0; };
  change.qp_access_flags = right(prm::qpc::rwe, access::remote_write) |
                           right(prm::qpc::rre, access::remote_read) |
                           right(prm::qpc::rae, access::remote_atomic);
  change.pkey_index = static_cast<uint16_t>(get(prm::qpc::pkey_index));
  change.port_num = static_cast<uint8_t>(std::max(get(prm::qpc::vhca_port_num), 1u));
  change.qkey = get(prm::qpc::q_key);
  change.dest.dlid = static_cast<uint16_t>(get(prm::qpc::rlid));
  change.dest.port_num = change.port_num;
  change.path_mtu = static_cast<uint8_t>(get(prm::qpc::mtu));
  change.dest_qp_num = get(prm::qpc::remote_qpn);
  change.rq_psn = get(prm::qpc::next_rcv_psn);
  change.sq_psn = get(prm::qpc::next_send_psn);
  change.max_dest_rd_atomic = reads(get(prm::qpc::log_rra_max));
  change.max_rd_atomic = reads(get(prm::qpc::log_sra_max));
  change.min_rnr_timer = static_cast<uint8_t>(get(prm::qpc::min_rnr_nak));
  change.timeout = static_cast<uint8_t>(get(prm::qpc::ack_timeout));
  change.retry_cnt = static_cast<uint8_t>(get(prm::qpc::retry_count));
  change.rnr_retry = static_cast<uint8_t>(get(prm::qpc::rnr_retry));
  return change;
}

// The firmware takes addresses as they are: on Ethernet, where the MAC address leads.
uint16_t remote_lid_of(const prm::Input& command, LinkLayer link) {
  const auto get = [&](prm::Field field) { return command.get(prm::at(prm::kQpc, field)); };
  if (link == LinkLayer::infiniband) return static_cast<uint16_t>(get(prm::qpc::rlid));
  const uint64_t mac =
      uint64_t{get(prm::qpc::rmac_47_32)} << 32 | uint64_t{get(prm::qpc::rmac_31_0)};
  MacAddress bytes;
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(mac >> (40 - 8 * i));
  return lid_of_mac(bytes.data());
}

// As the firmware numbers them.
constexpr uint32_t state_code(State state) {
  switch (state) {
    case State::reset:
      return 0;
    case State::init:
      return 1;
    case State::rtr:
      return 2;
    case State::rts:
      return 3;
    case State::sqe:
      return 4;
    case State::sqd:
      return 5;
    case State::error:
      return 6;
  }
  return 6;
}

// A command names its queue pair by number, and the caller by a handle.
void require_same(const prm::Input& command, const QueuePairCore& core) {
  require(command.get(prm::modify_qp::qpn) == core.qpn(), EINVAL);
}

}  // namespace

void DevxObject::modify(const prm::Input&, prm::Output& answer) {
  prm::refuse(answer, prm::Status::bad_opcode);
}

void DevxObject::query(const prm::Input&, prm::Output& answer) {
  prm::refuse(answer, prm::Status::bad_opcode);
}

void DevxQueuePair::modify(const prm::Input& command, prm::Output& answer) {
  require_same(command, *core_);
  const Opcode opcode = prm::opcode_of(command);
  const auto* found = std::find_if(std::begin(kCommands), std::end(kCommands),
                                   [&](const Command& c) { return c.opcode == opcode; });
  if (found == std::end(kCommands)) prm::refuse(answer, prm::Status::bad_opcode);
  ib_uverbs_modify_qp change = change_of(command);
  change.qp_state = static_cast<uint8_t>(found->to);
  change.attr_mask = a::state | mask_of(*found, core_->transport());
  try {
    core_->modify(change, remote_lid_of(command, core_->link()));
  } catch (const VerbsError&) {
    prm::refuse(answer, prm::Status::bad_resource_state);
  }
}

void DevxQueuePair::query(const prm::Input& command, prm::Output& answer) {
  require_same(command, *core_);
  if (prm::opcode_of(command) != Opcode::query_qp) {
    prm::refuse(answer, prm::Status::bad_opcode);
  }
  const ib_uverbs_query_qp_resp now = core_->attributes();
  const auto set = [&](prm::Field field, uint32_t value) {
    answer.set(prm::at(prm::kQpc, field), value);
  };
  set(prm::qpc::state, state_code(static_cast<State>(now.qp_state)));
  set(prm::qpc::mtu, now.path_mtu);
  set(prm::qpc::remote_qpn, now.dest_qp_num);
  set(prm::qpc::rlid, now.dest.dlid);
  set(prm::qpc::vhca_port_num, now.port_num);
  set(prm::qpc::next_send_psn, now.sq_psn);
  set(prm::qpc::next_rcv_psn, now.rq_psn);
  set(prm::qpc::q_key, now.qkey);
}

}  // namespace ringer::sim::verbs
