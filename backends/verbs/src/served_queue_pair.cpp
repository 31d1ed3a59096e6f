// SPDX-License-Identifier: Apache-2.0
#include "served_queue_pair.hpp"

#include <algorithm>
#include <cerrno>

#include <ringer/verbs/rc_connection.hpp>

namespace ringer::verbs {

namespace {
constexpr size_t kDoorbellBytes = 64;
constexpr size_t kRecordBytes = 64;
}  // namespace

ServedDevice::ServedDevice(const PortChoice& chosen, const VerbsSettings& wanted)
    : Device(chosen, wanted), posting(wanted.posting.value), inline_data(wanted.inline_data.value) {
  if (wanted.completions.value == Completions::event) {
    watch = std::make_unique<CompletionWatch>(*this);
  }
  if (wanted.connecting.value == Connecting::cm) cm = std::make_unique<CmConnector>(*this);
}

ServedQueuePair::ServedQueuePair(std::shared_ptr<ServedDevice> device,
                                 const QueuePairConfig& config)
    : RingQueuePair(device, config), served_(std::move(device)) {
  lay_out();
  create_queues();
  register_slots();
  view_.qpn = qp_->qp_num;
  adopt_rings();
  ring_ = std::make_unique<PostedRing>(view_, *sender_, send_cq_.get(), served_->watch != nullptr,
                                       slots_, [this] { enter_error(*served_, qp_.get()); });
  enter_init(*served_, qp_.get());
  if (served_->cm != nullptr) served_->cm->offer(qp_.get(), config_.rnr_retries);
  try {
    if (served_->watch != nullptr) served_->watch->add(send_cq_.get(), *ring_);
  } catch (...) {
    if (served_->cm != nullptr) served_->cm->withdraw(qp_.get());
    throw;
  }
}

ServedQueuePair::~ServedQueuePair() {
  if (served_->cm != nullptr) served_->cm->withdraw(qp_.get());
  if (served_->watch != nullptr) served_->watch->forget(*ring_);
  served_->executor.forget(*ring_);
}

void ServedQueuePair::lay_out() {
  const uint32_t wqebbs = config_.sq_wqebbs;
  const size_t cq_at = kDoorbellBytes + kRecordBytes;
  const size_t sq_at = cq_at + size_t{wqebbs} * sizeof(mlx5::Cqe);
  block_ = KernelArray<uint8_t>(memory_, sq_at + size_t{wqebbs} * kWqebbBytes, MemoryUse::queue);
  view_.sq_wqebbs = wqebbs;
  view_.cq_mode = config_.cq_mode;
  view_.cq_cqes = config_.cq_mode == CqMode::collapsed ? 1 : wqebbs;
  view_.doorbell = reinterpret_cast<uint64_t*>(block_.data());
  view_.dbr = reinterpret_cast<Be32*>(block_.data() + kDoorbellBytes);
  view_.cq_dbr = view_.dbr + 2;
  view_.cq = block_.data() + cq_at;
  view_.sq = block_.data() + sq_at;
  auto* cqes = static_cast<mlx5::Cqe*>(view_.cq);
  std::for_each(cqes, cqes + wqebbs, [](mlx5::Cqe& cqe) { cqe.tail = mlx5::kInvalidCqeTail; });
}

Owned<ibv_cq> ServedQueuePair::create_cq(uint32_t cqes, ibv_comp_channel* channel) const {
  ibv_cq* cq =
      served_->verbs.create_cq(served_->context, static_cast<int>(cqes), nullptr, channel, 0);
  if (cq == nullptr) fail("ibv_create_cq", served_->name(), errno);
  return {cq, served_->verbs.destroy_cq};
}

// With ibv_wr_* where that is there and wanted; null, with errno, if the provider refuses.
Owned<ibv_qp> ServedQueuePair::create_qp(uint32_t inline_bytes) {
  ibv_qp_init_attr_ex attr{};
  attr.send_cq = send_cq_.get();
  attr.recv_cq = receive_cq_.get() != nullptr ? receive_cq_.get() : send_cq_.get();
  attr.qp_type = IBV_QPT_RC;
  attr.cap.max_send_wr = config_.sq_wqebbs;
  attr.cap.max_send_sge = 1;
  attr.cap.max_inline_data = inline_bytes;
  attr.cap.max_recv_wr = config_.rq_wqes;
  attr.cap.max_recv_sge = config_.rq_wqes == 0 ? 0 : 1;
  attr.comp_mask = IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_SEND_OPS_FLAGS;
  attr.pd = served_->pd;
  attr.send_ops_flags = kSendOperations;
  const VerbsLibrary& verbs = served_->verbs;
  ibv_qp* qp = nullptr;
  if (served_->posting != Posting::list) {
    // Not ibv_create_qp_ex(): inline, it names a function of the library's.
    verbs_context* extended = verbs_get_ctx_op(served_->context, create_qp_ex);
    if (extended != nullptr) qp = extended->create_qp_ex(served_->context, &attr);
    if (qp != nullptr) sender_ = make_wr_poster(verbs, qp);
  }
  if (qp == nullptr && served_->posting != Posting::wr) {
    ibv_qp_init_attr plain{};
    plain.send_cq = attr.send_cq;
    plain.recv_cq = attr.recv_cq;
    plain.qp_type = attr.qp_type;
    plain.cap = attr.cap;
    qp = verbs.create_qp(served_->pd, &plain);
    if (qp != nullptr) {
      sender_ = make_list_poster(qp);
      attr.cap = plain.cap;
    }
  }
  const bool by_slots = served_->inline_data == InlineData::slots;
  if (qp != nullptr && (by_slots || attr.cap.max_inline_data < mlx5::kMaxInlineBytes)) {
    slots_.bytes.resize(size_t{config_.sq_wqebbs} * InlineSlots::kBytes);
  }
  return {qp, verbs.destroy_qp};
}

// Providers that take no data with a request refuse to be asked for it.
void ServedQueuePair::create_queues() {
  ibv_comp_channel* channel = served_->watch != nullptr ? served_->watch->channel() : nullptr;
  send_cq_ = create_cq(config_.sq_wqebbs, channel);
  if (config_.rq_wqes != 0) receive_cq_ = create_cq(config_.rq_wqes, nullptr);
  if (served_->inline_data == InlineData::automatic) qp_ = create_qp(mlx5::kMaxInlineBytes);
  if (qp_.get() == nullptr) qp_ = create_qp(0);
  if (qp_.get() == nullptr) fail("ibv_create_qp", served_->name(), errno);
}

void ServedQueuePair::register_slots() {
  if (slots_.bytes.empty()) return;
  const VerbsLibrary& verbs = served_->verbs;
  ibv_mr* mr = verbs.reg_mr_iova2(served_->pd, slots_.bytes.data(), slots_.bytes.size(),
                                  reinterpret_cast<uint64_t>(slots_.bytes.data()), 0);
  if (mr == nullptr) fail("ibv_reg_mr", served_->name(), errno);
  slots_region_ = {mr, verbs.dereg_mr};
  slots_.lkey = mr->lkey;
}

void ServedQueuePair::connect(const QueuePairAddress& remote, uint32_t peer) {
  require_same_link(*served_, remote, peer);
  if (served_->cm != nullptr) {
    served_->cm->connect(qp_.get(), address(), remote, peer);
  } else if (remote.cm_port == 0) {
    enter_rts(*served_, qp_.get(), remote, config_.rnr_retries);
  } else {
    throw BackendError("connect: rank " + std::to_string(peer) +
                       " connects by librdmacm, this one does not (RINGER_IB_CONNECT)");
  }
  connected_to(peer);
}

QueuePairAddress ServedQueuePair::address() const {
  QueuePairAddress address = RingQueuePair::address();
  if (served_->cm != nullptr) address.cm_port = served_->cm->port();
  return address;
}

// Whoever was asked is in RTS a little later than the one who has asked.
Status ServedQueuePair::connection() {
  if (established_ || served_->cm == nullptr) return {};
  try {
    established_ = served_->cm->connected(qp_.get());
  } catch (const BackendError&) {
    return {StatusCode::qp_error, static_cast<uint32_t>(mlx5::Syndrome::local_qp_operation),
            view_.qpn, view_.peer, 0};
  }
  return established_ ? Status{} : make_status(StatusCode::no_credit);
}

DeviceQp ServedQueuePair::device_view() const {
  const DeviceQp view = RingQueuePair::device_view();
  if (served_->cm != nullptr) served_->cm->await(qp_.get(), view.peer);
  std::call_once(enrolled_, [this] { served_->executor.add(*ring_); });
  return view;
}

PostOutcome ServedQueuePair::post(std::span<const WorkRequest> requests) {
  const auto too_large = [this](const WorkRequest& r) {
    return r.bytes > served_->port.max_msg_sz;
  };
  if (std::any_of(requests.begin(), requests.end(), too_large)) {
    return {make_status(StatusCode::invalid), 0};
  }
  if (const Status status = connection(); !status.ok()) return {status, 0};
  ring_->step();
  const PostOutcome outcome = RingQueuePair::post(requests);
  ring_->step();
  return outcome;
}

uint64_t ServedQueuePair::outstanding(Status& status) {
  ring_->step();
  return RingQueuePair::outstanding(status);
}

Status ServedQueuePair::first_error() const { return ring_->first_error(); }

void ServedQueuePair::post_receive(const LocalRef& buffer, uint32_t bytes) {
  if (to_receive_ - received_ >= config_.rq_wqes) {
    throw BackendError("post_receive: the receive ring of " + std::to_string(config_.rq_wqes) +
                       " is full");
  }
  ibv_sge piece{buffer.address, bytes, buffer.lkey};
  ibv_recv_wr wr{};
  wr.wr_id = to_receive_;
  wr.sg_list = &piece;
  wr.num_sge = 1;
  ibv_recv_wr* refused = nullptr;
  if (const int error = ibv_post_recv(qp_.get(), &wr, &refused); error != 0) {
    fail("ibv_post_recv", served_->name(), error);
  }
  ++to_receive_;
}

bool ServedQueuePair::poll_receive(ReceiveCompletion& completion) {
  ibv_wc wc{};
  if (receive_cq_.get() == nullptr || ibv_poll_cq(receive_cq_.get(), 1, &wc) != 1) return false;
  ++received_;
  completion = {{}, wc.wr_id, wc.byte_len, Be32{wc.imm_data}.value()};
  if (wc.status != IBV_WC_SUCCESS) {
    completion.status = {StatusCode::qp_error, static_cast<uint32_t>(syndrome_of(wc.status)),
                         view_.qpn, view_.peer, wc.wr_id};
  }
  return true;
}

}  // namespace ringer::verbs
