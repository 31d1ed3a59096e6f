// SPDX-License-Identifier: Apache-2.0
#include "verbs_queue_pair.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

namespace ringer::mlx5 {

namespace {

// As a context destroys them; the headers' own functions are inline.
int dealloc_td(ibv_td* td) { return ibv_dealloc_td(td); }

constexpr uint8_t kHopLimit = 64;
constexpr uint8_t kMinRnrTimer = 12;  // 0.64 ms

}  // namespace

VerbsQueuePair::VerbsQueuePair(std::shared_ptr<Device> device, const QueuePairConfig& config)
    : RawQueuePair(std::move(device), config) {
  if (!memory_.host_reachable()) {
    throw BackendError("create_queue_pair on " + device_->name() +
                       ": queues that the provider makes are in host memory, and kernels on a "
                       "GPU do not reach them");
  }
  create_domain();
  if (config.rq_wqes != 0) receive_cq_ = create_cq(config.rq_wqes);
  create_rings();
  look_inside();
  enter_init();
}

// A thread domain gives the queue pair a doorbell register of its own.
void VerbsQueuePair::create_domain() {
  ibv_td_init_attr td_attr{};
  ibv_td* td = ibv_alloc_td(device_->context, &td_attr);
  if (td == nullptr) fail("ibv_alloc_td", device_->name(), errno);
  thread_domain_ = {td, dealloc_td};
  ibv_parent_domain_init_attr attr{};
  attr.pd = device_->pd;
  attr.td = td;
  ibv_pd* domain = ibv_alloc_parent_domain(device_->context, &attr);
  if (domain == nullptr) fail("ibv_alloc_parent_domain", device_->name(), errno);
  domain_ = {domain, device_->core.dealloc_pd};
}

// Our pollers know CQEs of 64 bytes.
Owned<ibv_cq> VerbsQueuePair::create_cq(uint32_t cqes) const {
  ibv_cq_init_attr_ex attr{};
  attr.cqe = cqes;
  mlx5dv_cq_init_attr dv{};
  dv.comp_mask = MLX5DV_CQ_INIT_ATTR_MASK_CQE_SIZE;
  dv.cqe_size = sizeof(Cqe);
  ibv_cq_ex* cq = device_->core.create_cq(device_->context, &attr, &dv);
  if (cq == nullptr) fail("mlx5dv_create_cq", device_->name(), errno);
  return {ibv_cq_ex_to_cq(cq), device_->core.destroy_cq};
}

// The provider makes room for the largest WQE there is, four blocks, times the WQEs asked for; how
// deep the ring becomes is its business. The completion queue must hold as many.
void VerbsQueuePair::create_rings() {
  constexpr uint32_t kBlocksOfLargest = 4;
  constexpr int kTries = 3;
  uint32_t wqes = std::max(config_.sq_wqebbs / kBlocksOfLargest, 1u);
  uint32_t cqes = config_.sq_wqebbs;
  for (int tries = 0; tries < kTries; ++tries) {
    qp_.reset();
    send_cq_ = create_cq(cqes);
    qp_ = create_qp(wqes);
    mlx5dv_qp qp{};
    mlx5dv_cq cq{};
    inspect(&qp, send_cq_.get(), &cq);
    if (qp.sq.wqe_cnt >= config_.sq_wqebbs && cq.cqe_cnt >= qp.sq.wqe_cnt) return;
    if (qp.sq.wqe_cnt < config_.sq_wqebbs) wqes = config_.sq_wqebbs;
    cqes = std::max(cqes, qp.sq.wqe_cnt);
  }
  throw BackendError("create_queue_pair on " + device_->name() +
                     ": the provider gives no ring of " + std::to_string(config_.sq_wqebbs) +
                     " blocks with a completion queue for it");
}

void VerbsQueuePair::inspect(mlx5dv_qp* qp, ibv_cq* cq, mlx5dv_cq* inside) const {
  mlx5dv_obj objects{};
  objects.qp = {qp_.get(), qp};
  objects.cq = {cq, inside};
  const int error = device_->core.init_obj(&objects, MLX5DV_OBJ_QP | MLX5DV_OBJ_CQ);
  if (error != 0) fail("mlx5dv_init_obj", device_->name(), error);
}

Owned<ibv_qp> VerbsQueuePair::create_qp(uint32_t wqes) const {
  ibv_qp_init_attr attr{};
  attr.send_cq = send_cq_.get();
  attr.recv_cq = receive_cq_.get() != nullptr ? receive_cq_.get() : send_cq_.get();
  attr.qp_type = IBV_QPT_RC;
  attr.cap.max_send_wr = wqes;
  attr.cap.max_send_sge = 1;
  attr.cap.max_recv_wr = config_.rq_wqes;
  attr.cap.max_recv_sge = config_.rq_wqes == 0 ? 0 : 1;
  ibv_qp* qp = device_->core.create_qp(domain_.get(), &attr);
  if (qp == nullptr) fail("ibv_create_qp", device_->name(), errno);
  return {qp, device_->core.destroy_qp};
}

// Ring geometry is the provider's: it may have given more than was asked for.
void VerbsQueuePair::look_inside() {
  mlx5dv_qp qp{};
  mlx5dv_cq cq{};
  mlx5dv_cq receive_cq{};
  inspect(&qp, send_cq_.get(), &cq);
  if (receive_cq_.get() != nullptr) inspect(&qp, receive_cq_.get(), &receive_cq);
  if (qp.sq.stride != kWqebbBytes || cq.cqe_size != sizeof(Cqe) ||
      !std::has_single_bit(qp.sq.wqe_cnt)) {
    throw BackendError("create_queue_pair on " + device_->name() +
                       ": rings of another geometry than ours");
  }
  view_.qpn = qp_->qp_num;
  view_.sq_wqebbs = qp.sq.wqe_cnt;
  view_.cq_cqes = cq.cqe_cnt;
  view_.cq_mode = CqMode::owner_bit;
  view_.sq = qp.sq.buf;
  view_.cq = cq.buf;
  view_.dbr = reinterpret_cast<Be32*>(qp.dbrec);
  view_.cq_dbr = reinterpret_cast<Be32*>(cq.dbrec);
  view_.doorbell = static_cast<uint64_t*>(qp.bf.reg);
  adopt_rings();
  receiver_.emplace(
      view_, ReceiveRings{static_cast<uint8_t*>(qp.rq.buf), qp.rq.wqe_cnt, qp.rq.stride,
                          reinterpret_cast<Be32*>(qp.dbrec), static_cast<Cqe*>(receive_cq.buf),
                          receive_cq.cqe_cnt, reinterpret_cast<Be32*>(receive_cq.dbrec)});
}

void VerbsQueuePair::modify(ibv_qp_attr& attributes, int mask, const char* verb) {
  const int error = device_->core.modify_qp(qp_.get(), &attributes, mask);
  if (error != 0) {
    fail(std::string("ibv_modify_qp to ") + verb + " of queue pair " + std::to_string(view_.qpn),
         device_->name(), error);
  }
}

void VerbsQueuePair::enter_init() {
  ibv_qp_attr a{};
  a.qp_state = IBV_QPS_INIT;
  a.pkey_index = static_cast<uint16_t>(device_->settings.pkey_index.value);
  a.port_num = static_cast<uint8_t>(device_->choice.port);
  a.qp_access_flags = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;
  modify(a, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS, "INIT");
}

void VerbsQueuePair::enter_rtr(const QueuePairAddress& remote) {
  ibv_qp_attr a{};
  a.qp_state = IBV_QPS_RTR;
  a.path_mtu = static_cast<ibv_mtu>(mtu_with(remote));
  a.dest_qp_num = remote.qpn;
  a.max_dest_rd_atomic =
      static_cast<uint8_t>(std::clamp(device_->attributes.max_qp_rd_atom, 1, 16));
  a.min_rnr_timer = kMinRnrTimer;
  a.ah_attr.dlid = remote.lid;
  a.ah_attr.sl = static_cast<uint8_t>(device_->settings.service_level.value);
  a.ah_attr.port_num = static_cast<uint8_t>(device_->choice.port);
  if (device_->is_ethernet()) {
    a.ah_attr.is_global = 1;
    std::memcpy(a.ah_attr.grh.dgid.raw, remote.gid, sizeof(remote.gid));
    a.ah_attr.grh.sgid_index = static_cast<uint8_t>(device_->choice.gid_index);
    a.ah_attr.grh.hop_limit = kHopLimit;
    a.ah_attr.grh.traffic_class = static_cast<uint8_t>(device_->settings.traffic_class.value);
  }
  modify(a,
         IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
             IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER,
         "RTR");
}

void VerbsQueuePair::enter_rts() {
  ibv_qp_attr a{};
  a.qp_state = IBV_QPS_RTS;
  a.timeout = static_cast<uint8_t>(device_->settings.timeout.value);
  a.retry_cnt = static_cast<uint8_t>(device_->settings.retry_count.value);
  a.rnr_retry = static_cast<uint8_t>(std::min(config_.rnr_retries, 7u));
  a.max_rd_atomic =
      static_cast<uint8_t>(std::clamp(device_->attributes.max_qp_init_rd_atom, 1, 16));
  modify(a,
         IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN |
             IBV_QP_MAX_QP_RD_ATOMIC,
         "RTS");
}

void VerbsQueuePair::connect(const QueuePairAddress& remote, uint32_t peer) {
  require_same_link(remote, peer);
  enter_rtr(remote);
  enter_rts();
  connected_to(peer);
}

}  // namespace ringer::mlx5
