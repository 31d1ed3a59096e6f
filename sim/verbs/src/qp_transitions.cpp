// SPDX-License-Identifier: Apache-2.0
#include "qp_transitions.hpp"

#include <algorithm>
#include <iterator>

namespace ringer::sim::verbs {

namespace {

using State = QueuePairState;
namespace a = qp_attr;

/// Attributes by transport.
struct Sets {
  uint32_t rc;
  uint32_t uc;
  uint32_t ud;
  uint32_t xrc_initiator;
  uint32_t xrc_target;

  uint32_t of(Transport transport) const {
    switch (transport) {
      case Transport::rc:
        return rc;
      case Transport::uc:
        return uc;
      case Transport::ud:
        return ud;
      case Transport::xrc_initiator:
        return xrc_initiator;
      case Transport::xrc_target:
        return xrc_target;
    }
    return 0;
  }
};

struct Transition {
  State from;
  State to;
  Sets required;
  Sets optional;
};

constexpr Sets all(uint32_t set) { return {set, set, set, set, set}; }
constexpr Sets kNone = all(0);

constexpr uint32_t kPort = a::pkey_index | a::port;
constexpr Sets kBinding = {kPort | a::access_flags, kPort | a::access_flags, kPort | a::qkey,
                           kPort | a::access_flags, kPort | a::access_flags};

constexpr uint32_t kPeer = a::address_vector | a::path_mtu | a::remote_qpn | a::receive_psn;
constexpr uint32_t kResponder = kPeer | a::max_remote_reads | a::min_rnr_timer;
constexpr uint32_t kPeerOptions = a::alternate_path | a::access_flags | a::pkey_index;

constexpr uint32_t kRequester =
    a::timeout | a::retry_count | a::rnr_retry | a::send_psn | a::max_reads;

// What a queue pair at work may change.
constexpr uint32_t kPathChange =
    a::current_state | a::alternate_path | a::access_flags | a::migration_state;
constexpr Sets kAtWork = {kPathChange | a::min_rnr_timer, kPathChange, a::current_state | a::qkey,
                          kPathChange, kPathChange | a::min_rnr_timer};

constexpr uint32_t kDrained =
    a::address_vector | a::alternate_path | a::access_flags | a::pkey_index | a::migration_state;
constexpr uint32_t kDrainedRequester =
    kDrained | a::port | a::timeout | a::retry_count | a::rnr_retry | a::max_reads;
constexpr uint32_t kResponderLimits = a::max_remote_reads | a::min_rnr_timer;

constexpr Transition kTransitions[] = {
    {State::reset, State::init, kBinding, kNone},
    {State::init, State::init, kNone, kBinding},
    {State::init,
     State::rtr,
     {kResponder, kPeer, 0, kPeer, kResponder},
     {kPeerOptions, kPeerOptions, a::pkey_index | a::qkey, kPeerOptions, kPeerOptions}},
    {State::rtr,
     State::rts,
     {kRequester, a::send_psn, a::send_psn, kRequester, a::timeout | a::send_psn},
     kAtWork},
    {State::rts, State::rts, kNone, kAtWork},
    {State::rts, State::sqd, kNone, all(a::sqd_notify)},
    {State::sqd, State::rts, kNone, kAtWork},
    {State::sqd,
     State::sqd,
     kNone,
     {kDrainedRequester | kResponderLimits, kDrained, a::pkey_index | a::qkey, kDrainedRequester,
      kDrained | a::port | a::timeout | kResponderLimits}},
    {State::sqe,
     State::rts,
     kNone,
     {0, a::current_state | a::access_flags, a::current_state | a::qkey, 0, 0}},
};

}  // namespace

bool transition_allowed(Transport transport, State from, State to, uint32_t mask) {
  const bool may_name_current =
      from == State::rtr || from == State::rts || from == State::sqd || from == State::sqe;
  if ((mask & a::current_state) != 0 && !may_name_current) return false;
  uint32_t required = 0;
  uint32_t optional = 0;
  // Every state can be left for these two, with nothing to set; but there is no error in reset.
  const bool always = to == State::reset || (to == State::error && from != State::reset);
  if (!always) {
    const auto* found =
        std::find_if(std::begin(kTransitions), std::end(kTransitions),
                     [&](const Transition& t) { return t.from == from && t.to == to; });
    if (found == std::end(kTransitions)) return false;
    required = found->required.of(transport);
    optional = found->optional.of(transport);
  }
  return (mask & required) == required && (mask & ~(required | optional | a::state)) == 0;
}

}  // namespace ringer::sim::verbs
