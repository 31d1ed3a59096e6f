// SPDX-License-Identifier: Apache-2.0
#include "verbs_queue_pair.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>

#include <ringer/verbs/rc_connection.hpp>

namespace ringer::mlx5 {

namespace {

// As a context destroys them; the headers' own functions are inline.
int dealloc_td(ibv_td* td) { return ibv_dealloc_td(td); }

}  // namespace

VerbsQueuePair::VerbsQueuePair(std::shared_ptr<Device> device, const QueuePairConfig& config)
    : verbs::RingQueuePair(device, config), nic_(std::move(device)) {
  if (!memory_.host_reachable()) {
    throw BackendError("create_queue_pair on " + nic_->name() +
                       ": queues that the provider makes are in host memory, and kernels on a "
                       "GPU do not reach them");
  }
  create_domain();
  if (config.rq_wqes != 0) receive_cq_ = create_cq(config.rq_wqes);
  create_rings();
  look_inside();
  verbs::enter_init(*nic_, qp_.get());
}

// A thread domain gives the queue pair a doorbell register of its own.
void VerbsQueuePair::create_domain() {
  ibv_td_init_attr td_attr{};
  ibv_td* td = ibv_alloc_td(nic_->context, &td_attr);
  if (td == nullptr) fail("ibv_alloc_td", nic_->name(), errno);
  thread_domain_ = {td, dealloc_td};
  ibv_parent_domain_init_attr attr{};
  attr.pd = nic_->pd;
  attr.td = td;
  ibv_pd* domain = ibv_alloc_parent_domain(nic_->context, &attr);
  if (domain == nullptr) fail("ibv_alloc_parent_domain", nic_->name(), errno);
  domain_ = {domain, nic_->verbs.dealloc_pd};
}

// Our pollers know CQEs of 64 bytes.
Owned<ibv_cq> VerbsQueuePair::create_cq(uint32_t cqes) const {
  ibv_cq_init_attr_ex attr{};
  attr.cqe = cqes;
  mlx5dv_cq_init_attr dv{};
  dv.comp_mask = MLX5DV_CQ_INIT_ATTR_MASK_CQE_SIZE;
  dv.cqe_size = sizeof(Cqe);
  ibv_cq_ex* cq = nic_->mlx5.create_cq(nic_->context, &attr, &dv);
  if (cq == nullptr) fail("mlx5dv_create_cq", nic_->name(), errno);
  return {ibv_cq_ex_to_cq(cq), nic_->verbs.destroy_cq};
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
  throw BackendError("create_queue_pair on " + nic_->name() + ": the provider gives no ring of " +
                     std::to_string(config_.sq_wqebbs) + " blocks with a completion queue for it");
}

void VerbsQueuePair::inspect(mlx5dv_qp* qp, ibv_cq* cq, mlx5dv_cq* inside) const {
  mlx5dv_obj objects{};
  objects.qp = {qp_.get(), qp};
  objects.cq = {cq, inside};
  const int error = nic_->mlx5.init_obj(&objects, MLX5DV_OBJ_QP | MLX5DV_OBJ_CQ);
  if (error != 0) fail("mlx5dv_init_obj", nic_->name(), error);
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
  ibv_qp* qp = nic_->verbs.create_qp(domain_.get(), &attr);
  if (qp == nullptr) fail("ibv_create_qp", nic_->name(), errno);
  return {qp, nic_->verbs.destroy_qp};
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
    throw BackendError("create_queue_pair on " + nic_->name() +
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

void VerbsQueuePair::connect(const QueuePairAddress& remote, uint32_t peer) {
  verbs::require_same_link(*nic_, remote, peer);
  verbs::enter_rts(*nic_, qp_.get(), remote, config_.rnr_retries);
  connected_to(peer);
}

}  // namespace ringer::mlx5
