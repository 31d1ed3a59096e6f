// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include <ringer/verbs/rc_connection.hpp>

namespace ringer::verbs {

namespace {

void modify(const Device& device, ibv_qp* qp, ibv_qp_attr& attributes, int mask, const char* to) {
  const int error = device.verbs.modify_qp(qp, &attributes, mask);
  if (error == 0) return;
  fail(std::string("ibv_modify_qp to ") + to + " of queue pair " + std::to_string(qp->qp_num),
       device.name(), error);
}

void enter_rtr(const Device& device, ibv_qp* qp, const QueuePairAddress& remote) {
  ibv_qp_attr a{};
  a.qp_state = IBV_QPS_RTR;
  a.path_mtu = static_cast<ibv_mtu>(common_mtu(device, remote));
  a.dest_qp_num = remote.qpn;
  a.max_dest_rd_atomic = read_depth(device.attributes.max_qp_rd_atom);
  a.min_rnr_timer = kMinRnrTimer;
  a.ah_attr.dlid = remote.lid;
  a.ah_attr.sl = static_cast<uint8_t>(device.settings.service_level.value);
  a.ah_attr.port_num = static_cast<uint8_t>(device.choice.port);
  if (device.is_ethernet()) {
    a.ah_attr.is_global = 1;
    std::memcpy(a.ah_attr.grh.dgid.raw, remote.gid, sizeof(remote.gid));
    a.ah_attr.grh.sgid_index = static_cast<uint8_t>(device.choice.gid_index);
    a.ah_attr.grh.hop_limit = kHopLimit;
    a.ah_attr.grh.traffic_class = static_cast<uint8_t>(device.settings.traffic_class.value);
  }
  modify(device, qp, a,
         IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
             IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER,
         "RTR");
}

}  // namespace

QueuePairAddress address_of(const Device& device, Qpn qpn) {
  QueuePairAddress address{0,
                           qpn,
                           device.port.lid,
                           static_cast<uint8_t>(device.port.active_mtu),
                           static_cast<uint8_t>(device.is_ethernet()),
                           {}};
  std::memcpy(address.gid, device.gid.raw, sizeof(address.gid));
  return address;
}

void require_same_link(const Device& device, const QueuePairAddress& remote, uint32_t peer) {
  if (remote.is_ethernet == static_cast<uint8_t>(device.is_ethernet()) && remote.mtu != 0) return;
  throw BackendError("connect: rank " + std::to_string(peer) + " is on another kind of link than " +
                     device.choice.reason);
}

uint8_t common_mtu(const Device& device, const QueuePairAddress& remote) {
  return std::min(static_cast<uint8_t>(device.port.active_mtu), remote.mtu);
}

void set_retries(const Device& device, uint32_t rnr_retries, ibv_qp_attr& a) {
  a.timeout = static_cast<uint8_t>(device.settings.timeout.value);
  a.retry_cnt = static_cast<uint8_t>(device.settings.retry_count.value);
  a.rnr_retry = static_cast<uint8_t>(std::min(rnr_retries, 7u));
}

void enter_init(const Device& device, ibv_qp* qp) {
  ibv_qp_attr a{};
  a.qp_state = IBV_QPS_INIT;
  a.pkey_index = static_cast<uint16_t>(device.settings.pkey_index.value);
  a.port_num = static_cast<uint8_t>(device.choice.port);
  a.qp_access_flags = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;
  modify(device, qp, a, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS,
         "INIT");
}

void enter_rts(const Device& device, ibv_qp* qp, const QueuePairAddress& remote,
               uint32_t rnr_retries) {
  enter_rtr(device, qp, remote);
  ibv_qp_attr a{};
  a.qp_state = IBV_QPS_RTS;
  set_retries(device, rnr_retries, a);
  a.max_rd_atomic = read_depth(device.attributes.max_qp_init_rd_atom);
  modify(device, qp, a,
         IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN |
             IBV_QP_MAX_QP_RD_ATOMIC,
         "RTS");
}

void enter_error(const Device& device, ibv_qp* qp) noexcept {
  ibv_qp_attr a{};
  a.qp_state = IBV_QPS_ERR;
  device.verbs.modify_qp(qp, &a, IBV_QP_STATE);
}

}  // namespace ringer::verbs
