// SPDX-License-Identifier: Apache-2.0
#include "queue_pair.hpp"

#include <algorithm>

#include <ringer/control_plane.hpp>

#include "device_model.hpp"
#include "qp_transitions.hpp"

namespace ringer::sim::verbs {

namespace {

constexpr uint32_t kPsnMask = 0xffffff;
constexpr uint8_t kSmallestMtu = 1;
constexpr uint8_t kLargestMtu = 5;
constexpr uint32_t mtu_bytes(uint8_t mtu) { return 128u << mtu; }

}  // namespace

QueuePairCore::QueuePairCore(Nic& nic, const DeviceModel& model, const VerbsQueuePairSetup& setup)
    : nic_(nic), model_(model), transport_(setup.transport), qpn_(nic.create_queue_pair(setup)) {}

void QueuePairCore::modify(const ib_uverbs_modify_qp& change, uint16_t remote_lid) {
  const std::lock_guard lock(mutex_);
  const QueuePairState to = next_state(change);
  check_values(change, to);
  if (to == QueuePairState::reset) {
    set_ = {};
    remote_lid_ = kNoLid;
  } else {
    take_values(change);
    if ((change.attr_mask & qp_attr::address_vector) != 0) remote_lid_ = remote_lid;
  }
  apply(to);
}

QueuePairState QueuePairCore::next_state(const ib_uverbs_modify_qp& change) const {
  constexpr auto kLast = static_cast<uint8_t>(QueuePairState::error);
  const QueuePairState from = state();
  if ((change.attr_mask & qp_attr::current_state) != 0) {
    require(change.cur_qp_state == static_cast<uint8_t>(from), EINVAL);
  }
  QueuePairState to = from;
  if ((change.attr_mask & qp_attr::state) != 0) {
    require(change.qp_state <= kLast, EINVAL);
    to = static_cast<QueuePairState>(change.qp_state);
  }
  require(transition_allowed(transport_, from, to, change.attr_mask), EINVAL);
  return to;
}

void QueuePairCore::check_values(const ib_uverbs_modify_qp& change, QueuePairState to) const {
  const auto sets = [&](uint32_t attribute) { return (change.attr_mask & attribute) != 0; };
  if (sets(qp_attr::port)) require(model_.has_port(change.port_num), EINVAL);
  if (sets(qp_attr::address_vector)) {
    const uint32_t bound = to == QueuePairState::rtr ? set_.port_num : change.port_num;
    require(model_.has_port(change.dest.port_num) && change.dest.port_num == bound, EINVAL);
  }
  if (sets(qp_attr::pkey_index)) require(change.pkey_index < kPkeys, EINVAL);
  if (sets(qp_attr::path_mtu)) {
    require(change.path_mtu >= kSmallestMtu && change.path_mtu <= kLargestMtu, EINVAL);
  }
  if (sets(qp_attr::max_reads)) require(change.max_rd_atomic <= kMaxReads, EINVAL);
  if (sets(qp_attr::max_remote_reads)) require(change.max_dest_rd_atomic <= kMaxReads, EINVAL);
}

void QueuePairCore::take_values(const ib_uverbs_modify_qp& change) {
  const auto take = [&](uint32_t attribute, auto ib_uverbs_modify_qp::*value) {
    if ((change.attr_mask & attribute) != 0) set_.*value = change.*value;
  };
  using Set = ib_uverbs_modify_qp;
  take(qp_attr::access_flags, &Set::qp_access_flags);
  take(qp_attr::pkey_index, &Set::pkey_index);
  take(qp_attr::port, &Set::port_num);
  take(qp_attr::qkey, &Set::qkey);
  take(qp_attr::address_vector, &Set::dest);
  take(qp_attr::path_mtu, &Set::path_mtu);
  take(qp_attr::timeout, &Set::timeout);
  take(qp_attr::retry_count, &Set::retry_cnt);
  take(qp_attr::rnr_retry, &Set::rnr_retry);
  take(qp_attr::receive_psn, &Set::rq_psn);
  take(qp_attr::max_reads, &Set::max_rd_atomic);
  take(qp_attr::alternate_path, &Set::alt_dest);
  take(qp_attr::alternate_path, &Set::alt_pkey_index);
  take(qp_attr::alternate_path, &Set::alt_port_num);
  take(qp_attr::alternate_path, &Set::alt_timeout);
  take(qp_attr::min_rnr_timer, &Set::min_rnr_timer);
  take(qp_attr::send_psn, &Set::sq_psn);
  take(qp_attr::max_remote_reads, &Set::max_dest_rd_atomic);
  take(qp_attr::migration_state, &Set::path_mig_state);
  take(qp_attr::remote_qpn, &Set::dest_qp_num);
  take(qp_attr::sqd_notify, &Set::en_sqd_async_notify);
}

void QueuePairCore::apply(QueuePairState state) {
  VerbsQueuePairAttributes attributes;
  attributes.state = state;
  attributes.access = set_.qp_access_flags & access::all;
  attributes.qkey = set_.qkey;
  attributes.remote_qpn = set_.dest_qp_num;
  const uint32_t port = std::max<uint32_t>(set_.port_num, 1);
  attributes.lid = model_.lid(port);
  attributes.remote_lid = remote_lid_;
  attributes.send_psn = set_.sq_psn & kPsnMask;
  attributes.receive_psn = set_.rq_psn & kPsnMask;
  if (set_.path_mtu != 0) attributes.mtu_bytes = mtu_bytes(set_.path_mtu);
  attributes.retry_count = set_.retry_cnt;
  attributes.rnr_retry = set_.rnr_retry;
  attributes.tell_when_drained = set_.en_sqd_async_notify != 0;
  attributes.min_rnr_timer = set_.min_rnr_timer;
  attributes.timeout = set_.timeout;
  attributes.max_reads = set_.max_rd_atomic;
  nic_.modify_queue_pair(qpn_, attributes);
}

ib_uverbs_query_qp_resp QueuePairCore::attributes() const {
  const std::lock_guard lock(mutex_);
  ib_uverbs_query_qp_resp out;
  std::memset(static_cast<void*>(&out), 0, sizeof out);
  out.dest = set_.dest;
  out.alt_dest = set_.alt_dest;
  out.qkey = set_.qkey;
  const Nic::NextPsns next = nic_.next_psns(qpn_);
  out.rq_psn = next.receive;
  out.sq_psn = next.send;
  out.dest_qp_num = set_.dest_qp_num;
  out.qp_access_flags = set_.qp_access_flags;
  out.pkey_index = set_.pkey_index;
  out.alt_pkey_index = set_.alt_pkey_index;
  out.qp_state = static_cast<uint8_t>(state());
  out.cur_qp_state = out.qp_state;
  out.path_mtu = set_.path_mtu;
  out.path_mig_state = set_.path_mig_state;
  out.max_rd_atomic = set_.max_rd_atomic;
  out.max_dest_rd_atomic = set_.max_dest_rd_atomic;
  out.min_rnr_timer = set_.min_rnr_timer;
  out.port_num = set_.port_num;
  out.timeout = set_.timeout;
  out.retry_cnt = set_.retry_cnt;
  out.rnr_retry = set_.rnr_retry;
  out.alt_port_num = set_.alt_port_num;
  out.alt_timeout = set_.alt_timeout;
  return out;
}

}  // namespace ringer::sim::verbs
