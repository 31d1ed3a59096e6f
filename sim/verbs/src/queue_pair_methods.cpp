// SPDX-License-Identifier: Apache-2.0
// Creation, change and destruction of queue pairs.
#include <bit>

#include "memory_map.hpp"
#include "methods.hpp"
#include "qp_transitions.hpp"
#include "queue_pair.hpp"

namespace ringer::sim::verbs {

namespace {

constexpr uint64_t kDbrBytes = 8;
constexpr uint32_t kSegmentBytes = 16;
constexpr uint32_t kIgnoredFlags = MLX5_QP_FLAG_SCATTER_CQE | MLX5_QP_FLAG_ALLOW_SCATTER_CQE |
                                   MLX5_QP_FLAG_PACKET_BASED_CREDIT_MODE;
// Without multicast there is no loopback of it to block.
constexpr uint32_t kKnownCreateFlags =
    IB_UVERBS_QP_CREATE_SQ_SIG_ALL | IB_UVERBS_QP_CREATE_BLOCK_MULTICAST_LOOPBACK;
constexpr uint32_t kNoBlueFlameRegister = 1u << 31;

Transport transport_of(uint32_t qp_type) {
  switch (qp_type) {
    case IB_UVERBS_QPT_RC:
    case IB_UVERBS_QPT_UC:
    case IB_UVERBS_QPT_UD:
    case IB_UVERBS_QPT_XRC_INI:
    case IB_UVERBS_QPT_XRC_TGT:
      return static_cast<Transport>(qp_type);
    default:
      refuse(EOPNOTSUPP);
  }
}

template <class T>
T* object_or_null(const Context& context, const Request& request, uint32_t id) {
  return request.has(id) ? &context.objects.at<T>(request.handle(id)) : nullptr;
}

// What the attributes name; which of them there must be depends on the transport.
QueuePairUses find_uses(const Context& context, const Request& request, Transport transport) {
  QueuePairUses uses;
  if (transport == Transport::xrc_target) {
    uses.xrcd =
        Use(context.objects.at<XrcDomain>(request.handle(UVERBS_ATTR_CREATE_QP_XRCD_HANDLE)));
    return uses;
  }
  uses.pd =
      Use(context.objects.at<ProtectionDomain>(request.handle(UVERBS_ATTR_CREATE_QP_PD_HANDLE)));
  uses.send_cq = Use(
      context.objects.at<CompletionQueue>(request.handle(UVERBS_ATTR_CREATE_QP_SEND_CQ_HANDLE)));
  if (transport == Transport::xrc_initiator) return uses;
  uses.receive_cq = Use(
      context.objects.at<CompletionQueue>(request.handle(UVERBS_ATTR_CREATE_QP_RECV_CQ_HANDLE)));
  uses.srq =
      Use(object_or_null<SharedReceiveQueue>(context, request, UVERBS_ATTR_CREATE_QP_SRQ_HANDLE));
  return uses;
}

// The receive ring lies at the start of the buffer, the send ring behind it.
void lay_out_rings(VerbsQueuePairSetup& setup, const mlx5_ib_create_qp& driver,
                   const ib_uverbs_qp_cap& capacity) {
  constexpr uint32_t kLargestStrideShift = 16;
  setup.dbr = reinterpret_cast<Be32*>(driver.db_addr);
  require_mapped(driver.db_addr, kDbrBytes, true);
  uint64_t at = driver.buf_addr;
  if (setup.shared_receive == nullptr && capacity.max_recv_wr != 0) {
    require(std::has_single_bit(driver.rq_wqe_count) && driver.rq_wqe_count <= kMaxWr, EINVAL);
    require(driver.rq_wqe_shift >= 4 && driver.rq_wqe_shift <= kLargestStrideShift, EINVAL);
    setup.receive.wqes = reinterpret_cast<uint8_t*>(at);
    setup.receive.count = driver.rq_wqe_count;
    setup.receive.stride = 1u << driver.rq_wqe_shift;
    setup.receive.dbr = setup.dbr;
    at += uint64_t{driver.rq_wqe_count} << driver.rq_wqe_shift;
  }
  if (driver.sq_wqe_count != 0) {
    require(std::has_single_bit(driver.sq_wqe_count) && driver.sq_wqe_count <= kMaxSqWqebbs,
            EINVAL);
    setup.sq = reinterpret_cast<uint8_t*>(at);
    setup.sq_wqebbs = driver.sq_wqe_count;
    at += uint64_t{driver.sq_wqe_count} * kWqebbBytes;
  }
  if (at != driver.buf_addr) require_mapped(driver.buf_addr, at - driver.buf_addr, true);
}

void check_capacity(const ib_uverbs_qp_cap& capacity) {
  require(capacity.max_send_wr <= kMaxWr && capacity.max_recv_wr <= kMaxWr, EINVAL);
}

// The target half of XRC: whoever opens the domain finds it there by its number.
void publish_target(QueuePair& qp) {
  XrcDomainCore& domain = *qp.uses.xrcd->core;
  const std::lock_guard lock(domain.mutex);
  domain.targets[qp.core->qpn()] = qp.core;
}

VerbsQueuePairSetup setup_of(const Context& context, Transport transport, QueuePair& qp) {
  const QueuePairUses& uses = qp.uses;
  VerbsQueuePairSetup setup;
  setup.transport = transport;
  setup.protection_domain = uses.pd ? uses.pd->number : 0;
  setup.shared_receive = uses.srq ? uses.srq->queue() : nullptr;
  setup.send_cq = uses.send_cq ? uses.send_cq->queue() : nullptr;
  setup.receive_cq = uses.receive_cq ? uses.receive_cq->queue() : nullptr;
  setup.uar = uses.uar ? &uses.uar->registers : nullptr;
  setup.signal_all = qp.signal_all;
  setup.xrc_domain = uses.xrcd ? uses.xrcd->core->number : 0;
  setup.link = context.device.model.link;
  if (transport != Transport::xrc_target) {  // a target may outlive the handle it began with
    setup.events = event_relay();
    setup.cookie = &qp.events;
  }
  return setup;
}

void create_qp(Context& context, const Request& request) {
  const auto transport = transport_of(request.in<uint32_t>(UVERBS_ATTR_CREATE_QP_TYPE));
  const auto driver = request.driver_in().as<mlx5_ib_create_qp>();
  const auto flags = request.in_or<uint32_t>(UVERBS_ATTR_CREATE_QP_FLAGS, 0);
  require((flags & ~kKnownCreateFlags) == 0, EOPNOTSUPP);
  require((driver.flags & ~(kIgnoredFlags | MLX5_QP_FLAG_UAR_PAGE_INDEX)) == 0, EOPNOTSUPP);
  const auto capacity = request.in<ib_uverbs_qp_cap>(UVERBS_ATTR_CREATE_QP_CAP);
  check_capacity(capacity);
  QueuePairUses uses = find_uses(context, request, transport);
  if (transport != Transport::xrc_target) uses.uar = Use(context.uar(driver.bfreg_index));

  auto qp = std::make_unique<QueuePair>(request.in<uint64_t>(UVERBS_ATTR_CREATE_QP_USER_HANDLE),
                                        context.async_pipe(request, UVERBS_ATTR_CREATE_QP_EVENT_FD),
                                        std::move(uses));
  qp->signal_all = (flags & IB_UVERBS_QP_CREATE_SQ_SIG_ALL) != 0;
  qp->capacity = capacity;
  VerbsQueuePairSetup setup = setup_of(context, transport, *qp);
  setup.user_index = driver.uidx;
  if (transport != Transport::xrc_target) lay_out_rings(setup, driver, capacity);
  if (setup.receive.count != 0) {  // the library may have made it larger than asked
    qp->capacity.max_recv_wr = setup.receive.count;
    qp->capacity.max_recv_sge = setup.receive.stride / kSegmentBytes;
  }
  qp->core = std::make_shared<QueuePairCore>(context.nic, context.device.model, setup);
  if (transport == Transport::xrc_target) publish_target(*qp);

  const QueuePair& added = context.objects.add(std::move(qp));
  request.set_handle(UVERBS_ATTR_CREATE_QP_HANDLE, added.handle());
  request.out(UVERBS_ATTR_CREATE_QP_RESP_CAP, capacity);
  request.out(UVERBS_ATTR_CREATE_QP_RESP_QP_NUM, added.core->qpn());
  mlx5_ib_create_qp_resp out{};
  out.bfreg_index = kNoBlueFlameRegister;
  request.driver_out().put(out);
}

void destroy_qp(Context& context, const Request& request) {
  const auto qp = context.objects.take<QueuePair>(request.handle(UVERBS_ATTR_DESTROY_QP_HANDLE));
  qp->core.reset();
  request.out(UVERBS_ATTR_DESTROY_QP_RESP, ib_uverbs_destroy_qp_resp{qp->events.settle_asyncs()});
}

void modify(const Context& context, const ib_uverbs_modify_qp& in) {
  const auto& qp = context.objects.at<QueuePair>(in.qp_handle);
  const bool addresses = (in.attr_mask & qp_attr::address_vector) != 0;
  qp.core->modify(in, addresses ? context.device.model.lid_at(in.dest) : kNoLid);
}

void modify_qp(Context& context, const ib_uverbs_modify_qp& in, Nothing&, const WriteCall&) {
  modify(context, in);
}

void extended_modify_qp(Context& context, const ib_uverbs_ex_modify_qp& in, Nothing&,
                        const WriteCall& call) {
  modify(context, in.base);
  if (call.out.size() != 0) call.out.put(ib_uverbs_ex_modify_qp_resp{});
  mlx5_ib_modify_qp_resp driver{};
  driver.response_length = static_cast<uint32_t>(std::min(sizeof driver, call.driver_out.size()));
  call.driver_out.put(driver);
}

void query_qp(Context& context, const ib_uverbs_query_qp& in, ib_uverbs_query_qp_resp& out,
              const WriteCall&) {
  const auto& qp = context.objects.at<QueuePair>(in.qp_handle);
  out = qp.core->attributes();
  out.max_send_wr = qp.capacity.max_send_wr;
  out.max_recv_wr = qp.capacity.max_recv_wr;
  out.max_send_sge = qp.capacity.max_send_sge;
  out.max_recv_sge = qp.capacity.max_recv_sge;
  out.max_inline_data = qp.capacity.max_inline_data;
  out.sq_sig_all = qp.signal_all;
}

void open_qp(Context& context, const ib_uverbs_open_qp& in, ib_uverbs_create_qp_resp& out,
             const WriteCall&) {
  require(in.qp_type == IB_UVERBS_QPT_XRC_TGT, EINVAL);
  auto& xrcd = context.objects.at<XrcDomain>(in.pd_handle);
  std::shared_ptr<QueuePairCore> core;
  {
    const std::lock_guard lock(xrcd.core->mutex);
    const auto found = xrcd.core->targets.find(in.qpn);
    if (found != xrcd.core->targets.end()) core = found->second.lock();
  }
  require(core != nullptr, EINVAL);
  QueuePairUses uses;
  uses.xrcd = Use(xrcd);
  auto& qp = context.objects.make<QueuePair>(in.user_handle, nullptr, std::move(uses));
  qp.core = std::move(core);
  out.qp_handle = qp.handle();
  out.qpn = in.qpn;
}

constexpr Method kMethods[] = {
    {UVERBS_OBJECT_QP, UVERBS_METHOD_QP_CREATE, up_to(UVERBS_ATTR_CREATE_QP_RESP_QP_NUM),
     kDriverInOut, create_qp},
    {UVERBS_OBJECT_QP, UVERBS_METHOD_QP_DESTROY, up_to(UVERBS_ATTR_DESTROY_QP_RESP), kNoAttributes,
     destroy_qp},
};

constexpr WriteCommand kCommands[] = {
    write_command<ib_uverbs_modify_qp, Nothing, modify_qp>(IB_USER_VERBS_CMD_MODIFY_QP),
    write_command<ib_uverbs_ex_modify_qp, Nothing, extended_modify_qp>(
        IB_USER_VERBS_EX_CMD_MODIFY_QP | IB_USER_VERBS_CMD_FLAG_EXTENDED),
    write_command<ib_uverbs_query_qp, ib_uverbs_query_qp_resp, query_qp>(
        IB_USER_VERBS_CMD_QUERY_QP),
    write_command<ib_uverbs_open_qp, ib_uverbs_create_qp_resp, open_qp>(IB_USER_VERBS_CMD_OPEN_QP),
};

}  // namespace

std::span<const Method> queue_pair_methods() { return kMethods; }
std::span<const WriteCommand> queue_pair_commands() { return kCommands; }

}  // namespace ringer::sim::verbs
