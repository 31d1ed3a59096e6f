// SPDX-License-Identifier: Apache-2.0
// Shared receive queues and XRC domains.
#include <bit>

#include <fcntl.h>

#include "memory_map.hpp"
#include "methods.hpp"

namespace ringer::sim::verbs {

namespace {

// As ibv_srq_attr_mask.
constexpr uint32_t kSetLimit = 2;

constexpr uint32_t kSegmentBytes = 16;
constexpr uint32_t kSmallestStride = 32;
constexpr uint64_t kDbrBytes = 4;

// The library lays the ring out by the same rules.
ReceiveRing ring_of(const mlx5_ib_create_srq& driver, uint32_t max_wr, uint32_t max_sge) {
  require(max_wr <= kMaxSrqWr && max_sge <= kMaxSrqSge, EINVAL);
  ReceiveRing ring;
  ring.count = std::bit_ceil(max_wr + 1);
  ring.stride = std::bit_ceil(std::max(kSmallestStride, kSegmentBytes * (1 + max_sge)));
  ring.wqes = reinterpret_cast<uint8_t*>(driver.buf_addr);
  ring.dbr = reinterpret_cast<Be32*>(driver.db_addr);
  ring.linked = true;
  require_mapped(driver.buf_addr, uint64_t{ring.count} * ring.stride, true);
  require_mapped(driver.db_addr, kDbrBytes, true);
  return ring;
}

void create_srq(Context& context, const Request& request) {
  const auto driver = request.driver_in().as<mlx5_ib_create_srq>();
  const auto type = request.in<uint32_t>(UVERBS_ATTR_CREATE_SRQ_TYPE);
  const bool xrc = type == IB_UVERBS_SRQT_XRC;
  require(xrc || type == IB_UVERBS_SRQT_BASIC, EOPNOTSUPP);
  require((driver.flags & MLX5_SRQ_FLAG_SIGNATURE) == 0, EOPNOTSUPP);
  ReceiveQueueSetup setup;
  setup.max_sge = request.in<uint32_t>(UVERBS_ATTR_CREATE_SRQ_MAX_SGE);
  setup.ring = ring_of(driver, request.in<uint32_t>(UVERBS_ATTR_CREATE_SRQ_MAX_WR), setup.max_sge);
  setup.pd =
      &context.objects.at<ProtectionDomain>(request.handle(UVERBS_ATTR_CREATE_SRQ_PD_HANDLE));
  if (xrc) {
    setup.cq =
        &context.objects.at<CompletionQueue>(request.handle(UVERBS_ATTR_CREATE_SRQ_CQ_HANDLE));
    setup.xrcd = &context.objects.at<XrcDomain>(request.handle(UVERBS_ATTR_CREATE_SRQ_XRCD_HANDLE));
  }
  setup.user_index = driver.uidx;
  setup.user_handle = request.in<uint64_t>(UVERBS_ATTR_CREATE_SRQ_USER_HANDLE);
  setup.async = context.async_pipe(request, UVERBS_ATTR_CREATE_SRQ_EVENT_FD);
  const auto& srq = context.objects.make<SharedReceiveQueue>(context.nic, setup);
  const uint32_t number = Nic::number_of(srq.queue());
  request.set_handle(UVERBS_ATTR_CREATE_SRQ_HANDLE, srq.handle());
  request.out(UVERBS_ATTR_CREATE_SRQ_RESP_MAX_WR, srq.max_wr);
  request.out(UVERBS_ATTR_CREATE_SRQ_RESP_MAX_SGE, srq.max_sge);
  request.out(UVERBS_ATTR_CREATE_SRQ_RESP_SRQ_NUM, number);
  request.driver_out().put(mlx5_ib_create_srq_resp{number, 0});
}

void destroy_srq(Context& context, const Request& request) {
  const auto srq =
      context.objects.take<SharedReceiveQueue>(request.handle(UVERBS_ATTR_DESTROY_SRQ_HANDLE));
  srq->shut();
  request.out(UVERBS_ATTR_DESTROY_SRQ_RESP,
              ib_uverbs_destroy_srq_resp{srq->events.settle_asyncs()});
}

void modify_srq(Context& context, const ib_uverbs_modify_srq& in, Nothing&, const WriteCall&) {
  const auto& srq = context.objects.at<SharedReceiveQueue>(in.srq_handle);
  require((in.attr_mask & ~kSetLimit) == 0, EINVAL);  // its size stays
  if ((in.attr_mask & kSetLimit) == 0) return;
  require(in.srq_limit <= srq.max_wr, EINVAL);
  context.nic.set_limit(srq.queue(), in.srq_limit);
}

void query_srq(Context& context, const ib_uverbs_query_srq& in, ib_uverbs_query_srq_resp& out,
               const WriteCall&) {
  const auto& srq = context.objects.at<SharedReceiveQueue>(in.srq_handle);
  out.max_wr = srq.max_wr;
  out.max_sge = srq.max_sge;
  out.srq_limit = context.nic.limit_of(srq.queue());
}

// A file stands for a domain that others can open, too.
std::shared_ptr<XrcDomainCore> domain_of(Device& device, int fd, uint32_t flags) {
  const auto make = [&] {
    auto core = std::make_shared<XrcDomainCore>();
    core->number = device.next_xrc_domain++;
    return core;
  };
  if (fd < 0) return make();
  const auto id = file_id(fd);
  require(id.has_value(), EBADF);
  const std::lock_guard lock(device.mutex);
  auto& known = device.xrc_domains[*id];
  std::shared_ptr<XrcDomainCore> core = known.lock();
  if (core != nullptr) {
    require((flags & O_EXCL) == 0, EINVAL);
    return core;
  }
  require((flags & O_CREAT) != 0, EAGAIN);
  core = make();
  known = core;
  return core;
}

void open_xrcd(Context& context, const ib_uverbs_open_xrcd& in, ib_uverbs_open_xrcd_resp& out,
               const WriteCall&) {
  require((in.oflags & ~uint32_t{O_CREAT | O_EXCL}) == 0, EINVAL);
  auto core = domain_of(context.device, static_cast<int>(in.fd), in.oflags);
  out.xrcd_handle = context.objects.make<XrcDomain>(std::move(core)).handle();
}

constexpr Method kMethods[] = {
    {UVERBS_OBJECT_SRQ, UVERBS_METHOD_SRQ_CREATE, up_to(UVERBS_ATTR_CREATE_SRQ_RESP_SRQ_NUM),
     kDriverInOut, create_srq},
    {UVERBS_OBJECT_SRQ, UVERBS_METHOD_SRQ_DESTROY, up_to(UVERBS_ATTR_DESTROY_SRQ_RESP),
     kNoAttributes, destroy_srq},
    {UVERBS_OBJECT_XRCD, UVERBS_METHOD_XRCD_DESTROY, up_to(UVERBS_ATTR_DESTROY_XRCD_HANDLE),
     kNoAttributes, destroy_method<XrcDomain>},
};

constexpr WriteCommand kCommands[] = {
    write_command<ib_uverbs_modify_srq, Nothing, modify_srq>(IB_USER_VERBS_CMD_MODIFY_SRQ),
    write_command<ib_uverbs_query_srq, ib_uverbs_query_srq_resp, query_srq>(
        IB_USER_VERBS_CMD_QUERY_SRQ),
    write_command<ib_uverbs_open_xrcd, ib_uverbs_open_xrcd_resp, open_xrcd>(
        IB_USER_VERBS_CMD_OPEN_XRCD),
    destroy_command<XrcDomain, &ib_uverbs_close_xrcd::xrcd_handle>(IB_USER_VERBS_CMD_CLOSE_XRCD),
};

}  // namespace

std::span<const Method> receive_queue_methods() { return kMethods; }
std::span<const WriteCommand> receive_queue_commands() { return kCommands; }

}  // namespace ringer::sim::verbs
