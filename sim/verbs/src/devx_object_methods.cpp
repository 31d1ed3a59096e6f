// SPDX-License-Identifier: Apache-2.0
// DEVX objects: completion queues, queue pairs and memory keys made by firmware commands.
#include <ringer/control_plane.hpp>

#include "devx.hpp"
#include "methods.hpp"

namespace ringer::sim::verbs {

namespace {

using prm::Field;
using prm::Field64;

/// A command being carried out.
struct Creation {
  Context& context;
  prm::Input in;
  prm::Output out;
};

/// What the firmware does not like about a command ends it.
void demand(Creation& creation, bool condition) {
  if (!condition) prm::refuse(creation.out, prm::Status::bad_parameter);
}

/// `bytes` at `offset` of the umem that `id` names, if `valid` says that it names one.
uint8_t* in_umem(Creation& creation, Field valid, Field id, Field64 offset, uint64_t bytes,
                 Use<DevxUmem>& use) {
  demand(creation, creation.in.get(valid) == 1);
  DevxUmem& umem = creation.context.objects.at<DevxUmem>(creation.in.get(id));
  const uint64_t from = creation.in.get(offset);
  demand(creation, from <= umem.bytes && bytes <= umem.bytes - from);
  use = Use(umem);
  return reinterpret_cast<uint8_t*>(umem.address + from);
}

ProtectionDomain& domain(Creation& creation, uint32_t number) {
  auto* found = creation.context.objects.find<ProtectionDomain>(
      [&](const ProtectionDomain& pd) { return pd.number == number; });
  demand(creation, found != nullptr);
  return *found;
}

CompletionQueue& completion_queue(Creation& creation, uint32_t number) {
  const ObjectTable& objects = creation.context.objects;
  auto* cq = objects.find<CompletionQueue>([&](const auto& c) { return c.number == number; });
  if (cq != nullptr) return *cq;
  auto* devx =
      objects.find<DevxCompletionQueue>([&](const auto& c) { return c.cq.number == number; });
  demand(creation, devx != nullptr);
  return devx->cq;
}

// Made by verbs, or a pool.
SharedReceiveQueue& shared_receive_queue(Creation& creation, uint32_t number) {
  const ObjectTable& objects = creation.context.objects;
  const auto is_it = [&](const SharedReceiveQueue& srq) {
    return Nic::number_of(srq.queue()) == number;
  };
  auto* srq = objects.find<SharedReceiveQueue>(is_it);
  if (srq != nullptr) return *srq;
  auto* pool = objects.find<DevxReceivePool>([&](const auto& p) { return is_it(p.srq); });
  demand(creation, pool != nullptr);
  return pool->srq;
}

DevxObject& create_rmp(Creation& creation) {
  constexpr uint64_t kDbrBytes = 8;
  constexpr uint32_t kSegmentBytes = 16;
  constexpr uint32_t kSmallestLogStride = 4;
  constexpr uint32_t kLargestLogSize = 15;
  namespace rmp = prm::create_rmp;
  namespace wq = prm::wq;
  const prm::Input& in = creation.in;
  const auto at = [](auto field) { return prm::at(rmp::wq, field); };
  const uint32_t type = in.get(at(wq::wq_type));
  const uint32_t log_stride = in.get(at(wq::log_wq_stride));
  const uint32_t log_size = in.get(at(wq::log_wq_sz));
  const bool plain_wqes = in.get(rmp::basic_cyclic_rcv_wqe) != 0;
  demand(creation, in.get(rmp::state) == rmp::kReady);
  demand(creation, type == rmp::kLinkedList || (type == rmp::kCyclic && plain_wqes));
  demand(creation, log_stride >= kSmallestLogStride && log_size <= kLargestLogSize);
  ReceiveQueueSetup setup;
  setup.pd = &domain(creation, in.get(at(wq::pd)));
  setup.ring.count = 1u << log_size;
  setup.ring.stride = 1u << log_stride;
  setup.ring.linked = type == rmp::kLinkedList;
  setup.max_sge = setup.ring.stride / kSegmentBytes - (setup.ring.linked ? 1 : 0);
  Use<DevxUmem> ring_umem;
  Use<DevxUmem> dbr_umem;
  setup.ring.wqes =
      in_umem(creation, at(wq::wq_umem_valid), at(wq::wq_umem_id), at(wq::wq_umem_offset),
              uint64_t{setup.ring.count} * setup.ring.stride, ring_umem);
  setup.ring.dbr =
      reinterpret_cast<Be32*>(in_umem(creation, at(wq::dbr_umem_valid), at(wq::dbr_umem_id),
                                      at(wq::dbr_addr), kDbrBytes, dbr_umem));
  Context& context = creation.context;
  auto& made = context.objects.make<DevxReceivePool>(context.nic, setup, std::move(ring_umem),
                                                     std::move(dbr_umem));
  creation.out.set(prm::kNumber, Nic::number_of(made.srq.queue()));
  return made;
}

DevxObject& create_cq(Creation& creation) {
  constexpr uint32_t kCqe64 = 0;
  constexpr uint32_t kCqe128 = 1;
  constexpr uint32_t kMaxLogSize = 22;
  constexpr uint64_t kDbrBytes = 8;
  const auto cqc = [](auto field) { return prm::at(prm::create_cq::cqc, field); };
  const prm::Input& in = creation.in;
  const uint32_t size_code = in.get(cqc(prm::cqc::cqe_sz));
  const uint32_t log_size = in.get(cqc(prm::cqc::log_cq_size));
  demand(creation, size_code == kCqe64 || size_code == kCqe128);
  demand(creation, log_size <= kMaxLogSize);
  creation.context.uar(in.get(cqc(prm::cqc::uar_page)));
  CompletionRing ring;
  ring.cqe_bytes = size_code == kCqe128 ? 128 : 64;
  ring.count = 1u << log_size;
  ring.collapsed = in.get(cqc(prm::cqc::cc)) != 0;
  ring.overrun_ignored = in.get(cqc(prm::cqc::oi)) != 0;
  Use<DevxUmem> ring_umem;
  Use<DevxUmem> dbr_umem;
  ring.cqes = in_umem(
      creation, prm::create_cq::umem_valid, prm::create_cq::umem_id, prm::create_cq::umem_offset,
      ring.collapsed ? ring.cqe_bytes : uint64_t{ring.count} * ring.cqe_bytes, ring_umem);
  ring.dbr = reinterpret_cast<Be32*>(in_umem(creation, cqc(prm::cqc::dbr_umem_valid),
                                             cqc(prm::cqc::dbr_umem_id), cqc(prm::cqc::dbr_addr),
                                             kDbrBytes, dbr_umem));
  Context& context = creation.context;
  auto& made = context.objects.make<DevxCompletionQueue>(
      context.nic, ring, context.device.next_cq++, std::move(ring_umem), std::move(dbr_umem));
  creation.out.set(prm::kNumber, made.cq.number);
  return made;
}

Transport transport_of(Creation& creation, uint32_t service_type) {
  constexpr Transport kByType[] = {Transport::rc, Transport::uc, Transport::ud};
  demand(creation, service_type < std::size(kByType));
  return kByType[service_type];
}

void lay_out_rings(Creation& creation, VerbsQueuePairSetup& setup, Use<DevxUmem>& ring_umem) {
  constexpr uint32_t kRegular = 0;
  const auto qpc = [&](Field field) { return creation.in.get(prm::at(prm::kQpc, field)); };
  uint64_t receive_bytes = 0;
  if (qpc(prm::qpc::rq_type) == kRegular) {
    setup.receive.count = 1u << qpc(prm::qpc::log_rq_size);
    setup.receive.stride = 16u << qpc(prm::qpc::log_rq_stride);
    receive_bytes = uint64_t{setup.receive.count} * setup.receive.stride;
  }
  if (qpc(prm::qpc::no_sq) == 0) setup.sq_wqebbs = 1u << qpc(prm::qpc::log_sq_size);
  uint8_t* buffer = in_umem(creation, prm::create_qp::umem_valid, prm::create_qp::umem_id,
                            prm::create_qp::umem_offset,
                            receive_bytes + uint64_t{setup.sq_wqebbs} * kWqebbBytes, ring_umem);
  if (receive_bytes != 0) {
    setup.receive.wqes = buffer;
    setup.receive.dbr = setup.dbr;
  }
  setup.sq = buffer + receive_bytes;
}

DevxObject& create_qp(Creation& creation) {
  constexpr uint64_t kDbrBytes = 8;
  constexpr uint32_t kFromShared = 1;
  Context& context = creation.context;
  const auto qpc = [](auto field) { return prm::at(prm::kQpc, field); };
  const auto get = [&](Field field) { return creation.in.get(qpc(field)); };
  VerbsQueuePairSetup setup;
  setup.transport = transport_of(creation, get(prm::qpc::st));
  QueuePairUses uses;
  uses.pd = Use(domain(creation, get(prm::qpc::pd)));
  uses.uar = Use(context.uar(get(prm::qpc::uar_page)));
  if (get(prm::qpc::no_sq) == 0) {
    uses.send_cq = Use(completion_queue(creation, get(prm::qpc::cqn_snd)));
  }
  // A queue pair that receives nothing may leave its completion queue out.
  if (get(prm::qpc::cqn_rcv) != 0) {
    uses.receive_cq = Use(completion_queue(creation, get(prm::qpc::cqn_rcv)));
  }
  if (get(prm::qpc::rq_type) == kFromShared) {
    uses.srq = Use(shared_receive_queue(creation, get(prm::qpc::srqn)));
  }
  setup.protection_domain = uses.pd->number;
  setup.uar = &uses.uar->registers;
  setup.send_cq = uses.send_cq ? uses.send_cq->queue() : nullptr;
  setup.receive_cq = uses.receive_cq ? uses.receive_cq->queue() : nullptr;
  setup.shared_receive = uses.srq ? uses.srq->queue() : nullptr;
  setup.user_index = get(prm::qpc::user_index);
  setup.link = context.device.model.link;
  Use<DevxUmem> ring_umem;
  Use<DevxUmem> dbr_umem;
  setup.dbr = reinterpret_cast<Be32*>(in_umem(creation, qpc(prm::qpc::dbr_umem_valid),
                                              qpc(prm::qpc::dbr_umem_id), qpc(prm::qpc::dbr_addr),
                                              kDbrBytes, dbr_umem));
  lay_out_rings(creation, setup, ring_umem);
  auto made =
      std::make_unique<DevxQueuePair>(std::move(uses), std::move(ring_umem), std::move(dbr_umem));
  made->start(std::make_unique<QueuePairCore>(context.nic, context.device.model, setup));
  creation.out.set(prm::kNumber, made->core().qpn());
  return context.objects.add(std::move(made));
}

// Only keys of plain memory: what indirect ones refer to, the NIC could not follow.
DevxObject& create_mkey(Creation& creation) {
  constexpr Field kLowByte = {0x38, 8};
  Context& context = creation.context;
  const prm::Input& in = creation.in;
  const auto mkc = [](auto field) { return prm::at(prm::create_mkey::mkc, field); };
  const auto right = [&](Field field, uint32_t bit) { return in.get(mkc(field)) != 0 ? bit : 0; };
  require(in.get(mkc(prm::mkc::access_mode_4_2)) == 0 &&
              in.get(mkc(prm::mkc::access_mode_1_0)) == prm::create_mkey::kAccessModeMtt,
          EOPNOTSUPP);
  MemoryRange range;
  range.start = in.get(mkc(prm::mkc::start_addr));
  range.bytes = in.get(mkc(prm::mkc::len));
  range.access = right(prm::mkc::local_write, access::local_write) |
                 right(prm::mkc::remote_write, access::remote_write) |
                 right(prm::mkc::remote_read, access::remote_read) |
                 right(prm::mkc::atomic, access::remote_atomic);
  Use<DevxUmem> umem;
  range.host = in_umem(creation, prm::create_mkey::umem_valid, prm::create_mkey::umem_id,
                       prm::create_mkey::umem_offset, range.bytes, umem);
  ProtectionDomain& pd = domain(creation, in.get(mkc(prm::mkc::pd)));
  range.protection_domain = pd.number;
  range.key_variant = static_cast<uint8_t>(in.get(mkc(kLowByte)));
  auto& made = context.objects.make<DevxMemoryKey>(context.nic, range, pd, std::move(umem));
  creation.out.set(prm::kNumber, made.region.key >> 8);
  return made;
}

DevxObject& create(Creation& creation) {
  switch (prm::opcode_of(creation.in)) {
    case prm::Opcode::create_cq:
      return create_cq(creation);
    case prm::Opcode::create_qp:
      return create_qp(creation);
    case prm::Opcode::create_mkey:
      return create_mkey(creation);
    case prm::Opcode::create_rmp:
      return create_rmp(creation);
    default:
      prm::refuse(creation.out, prm::Status::bad_opcode);
  }
}

void create_object(Context& context, const Request& request) {
  Creation creation = {context, prm::Input(request.in_buffer(MLX5_IB_ATTR_DEVX_OBJ_CREATE_CMD_IN)),
                       prm::Output(request.out_buffer(MLX5_IB_ATTR_DEVX_OBJ_CREATE_CMD_OUT))};
  request.set_handle(MLX5_IB_ATTR_DEVX_OBJ_CREATE_HANDLE, create(creation).handle());
}

void destroy_object(Context& context, const Request& request) {
  context.objects.take<DevxObject>(request.handle(MLX5_IB_ATTR_DEVX_OBJ_DESTROY_HANDLE));
}

void modify_object(Context& context, const Request& request) {
  const prm::Input in(request.in_buffer(MLX5_IB_ATTR_DEVX_OBJ_MODIFY_CMD_IN));
  prm::Output out(request.out_buffer(MLX5_IB_ATTR_DEVX_OBJ_MODIFY_CMD_OUT));
  context.objects.at<DevxObject>(request.handle(MLX5_IB_ATTR_DEVX_OBJ_MODIFY_HANDLE))
      .modify(in, out);
}

void query_object(Context& context, const Request& request) {
  const prm::Input in(request.in_buffer(MLX5_IB_ATTR_DEVX_OBJ_QUERY_CMD_IN));
  prm::Output out(request.out_buffer(MLX5_IB_ATTR_DEVX_OBJ_QUERY_CMD_OUT));
  context.objects.at<DevxObject>(request.handle(MLX5_IB_ATTR_DEVX_OBJ_QUERY_HANDLE)).query(in, out);
}

constexpr Method kMethods[] = {
    {MLX5_IB_OBJECT_DEVX_OBJ, MLX5_IB_METHOD_DEVX_OBJ_CREATE, kNoAttributes,
     up_to(MLX5_IB_ATTR_DEVX_OBJ_CREATE_CMD_OUT), create_object},
    {MLX5_IB_OBJECT_DEVX_OBJ, MLX5_IB_METHOD_DEVX_OBJ_DESTROY, kNoAttributes,
     up_to(MLX5_IB_ATTR_DEVX_OBJ_DESTROY_HANDLE), destroy_object},
    {MLX5_IB_OBJECT_DEVX_OBJ, MLX5_IB_METHOD_DEVX_OBJ_MODIFY, kNoAttributes,
     up_to(MLX5_IB_ATTR_DEVX_OBJ_MODIFY_CMD_OUT), modify_object},
    {MLX5_IB_OBJECT_DEVX_OBJ, MLX5_IB_METHOD_DEVX_OBJ_QUERY, kNoAttributes,
     up_to(MLX5_IB_ATTR_DEVX_OBJ_QUERY_CMD_OUT), query_object},
};

}  // namespace

std::span<const Method> devx_object_methods() { return kMethods; }

}  // namespace ringer::sim::verbs
