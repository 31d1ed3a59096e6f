// SPDX-License-Identifier: Apache-2.0
// Completion channels, completion queues and asynchronous event files.
#include <bit>

#include <ringer/control_plane.hpp>

#include "memory_map.hpp"
#include "methods.hpp"

namespace ringer::sim::verbs {

namespace {

constexpr uint32_t kModerate = 1;  // ibv_cq_attr_mask
constexpr uint64_t kDbrBytes = 8;

void create_comp_channel(Context& context, const ib_uverbs_create_comp_channel&,
                         ib_uverbs_create_comp_channel_resp& out, const WriteCall&) {
  out.fd = static_cast<uint32_t>(context.add_pipe(sizeof(ib_uverbs_comp_event_desc)));
}

void alloc_async_event(Context& context, const Request& request) {
  request.set_fd(UVERBS_ATTR_ASYNC_EVENT_ALLOC_FD_HANDLE,
                 context.add_pipe(sizeof(ib_uverbs_async_event_desc)));
}

// `cqe` is one less than the ring has: the library passes what it can hold.
CompletionRing ring_of(uint64_t buffer, uint32_t cqe, uint32_t cqe_bytes, Be32* dbr) {
  require(cqe >= 1 && cqe <= kMaxCqe, EINVAL);
  require(cqe_bytes == 64 || cqe_bytes == 128, EINVAL);
  CompletionRing ring;
  ring.count = std::bit_ceil(cqe + 1);
  ring.cqe_bytes = cqe_bytes;
  ring.cqes = reinterpret_cast<uint8_t*>(buffer);
  ring.dbr = dbr;
  require_mapped(buffer, uint64_t{ring.count} * cqe_bytes, true);
  return ring;
}

void create_cq(Context& context, const Request& request) {
  constexpr uint32_t kKnownFlags =
      IB_UVERBS_CQ_FLAGS_TIMESTAMP_COMPLETION | IB_UVERBS_CQ_FLAGS_IGNORE_OVERRUN;
  const auto driver = request.driver_in().as<mlx5_ib_create_cq>();
  const auto flags = request.in_or<uint32_t>(UVERBS_ATTR_CREATE_CQ_FLAGS, 0);
  require((flags & ~kKnownFlags) == 0, EOPNOTSUPP);
  require(driver.cqe_comp_en == 0, EOPNOTSUPP);
  require((driver.flags & ~MLX5_IB_CREATE_CQ_FLAGS_UAR_PAGE_INDEX) == 0, EOPNOTSUPP);
  require(request.in<uint32_t>(UVERBS_ATTR_CREATE_CQ_COMP_VECTOR) < kCompletionVectors, EINVAL);
  CompletionRing ring = ring_of(driver.buf_addr, request.in<uint32_t>(UVERBS_ATTR_CREATE_CQ_CQE),
                                driver.cqe_size, reinterpret_cast<Be32*>(driver.db_addr));
  require_mapped(driver.db_addr, kDbrBytes, true);
  ring.overrun_ignored = (flags & IB_UVERBS_CQ_FLAGS_IGNORE_OVERRUN) != 0;
  std::shared_ptr<EventPipe> completions;
  if (request.has(UVERBS_ATTR_CREATE_CQ_COMP_CHANNEL)) {
    completions = context.pipe(request.fd(UVERBS_ATTR_CREATE_CQ_COMP_CHANNEL));
  }
  const auto& cq = context.objects.make<CompletionQueue>(
      context.nic, ring, context.device.next_cq++,
      request.in<uint64_t>(UVERBS_ATTR_CREATE_CQ_USER_HANDLE),
      context.async_pipe(request, UVERBS_ATTR_CREATE_CQ_EVENT_FD), completions);
  request.set_handle(UVERBS_ATTR_CREATE_CQ_HANDLE, cq.handle());
  request.out(UVERBS_ATTR_CREATE_CQ_RESP_CQE, ring.count - 1);
  request.driver_out().put(mlx5_ib_create_cq_resp{cq.number, 0});
}

void destroy_cq(Context& context, const Request& request) {
  const auto cq =
      context.objects.take<CompletionQueue>(request.handle(UVERBS_ATTR_DESTROY_CQ_HANDLE));
  cq->shut();
  const ib_uverbs_destroy_cq_resp out = {cq->events.settle_completions(),
                                         cq->events.settle_asyncs()};
  request.out(UVERBS_ATTR_DESTROY_CQ_RESP, out);
}

void resize_cq(Context& context, const ib_uverbs_resize_cq& in, ib_uverbs_resize_cq_resp& out,
               const WriteCall& call) {
  const auto driver = call.driver_in.as<mlx5_ib_resize_cq>();
  auto& cq = context.objects.at<CompletionQueue>(in.cq_handle);
  CompletionRing ring = ring_of(driver.buf_addr, in.cqe, driver.cqe_size, cq.ring.dbr);
  ring.overrun_ignored = cq.ring.overrun_ignored;
  try {
    cq.resize(ring);
  } catch (const BackendError&) {
    refuse(EINVAL);  // it has more CQEs than that
  }
  out.cqe = ring.count - 1;
}

// Moderation only ever delays events; here they come at once.
void modify_cq(Context& context, const ib_uverbs_ex_modify_cq& in, Nothing&, const WriteCall&) {
  context.objects.at<CompletionQueue>(in.cq_handle);
  require(in.attr_mask == kModerate, EOPNOTSUPP);
}

constexpr Method kMethods[] = {
    {UVERBS_OBJECT_ASYNC_EVENT, UVERBS_METHOD_ASYNC_EVENT_ALLOC,
     up_to(UVERBS_ATTR_ASYNC_EVENT_ALLOC_FD_HANDLE), kNoAttributes, alloc_async_event},
    {UVERBS_OBJECT_CQ, UVERBS_METHOD_CQ_CREATE, up_to(UVERBS_ATTR_CREATE_CQ_EVENT_FD), kDriverInOut,
     create_cq},
    {UVERBS_OBJECT_CQ, UVERBS_METHOD_CQ_DESTROY, up_to(UVERBS_ATTR_DESTROY_CQ_RESP), kNoAttributes,
     destroy_cq},
};

constexpr WriteCommand kCommands[] = {
    write_command<ib_uverbs_create_comp_channel, ib_uverbs_create_comp_channel_resp,
                  create_comp_channel>(IB_USER_VERBS_CMD_CREATE_COMP_CHANNEL),
    write_command<ib_uverbs_resize_cq, ib_uverbs_resize_cq_resp, resize_cq>(
        IB_USER_VERBS_CMD_RESIZE_CQ),
    write_command<ib_uverbs_ex_modify_cq, Nothing, modify_cq>(IB_USER_VERBS_EX_CMD_MODIFY_CQ |
                                                              IB_USER_VERBS_CMD_FLAG_EXTENDED),
};

}  // namespace

std::span<const Method> completion_methods() { return kMethods; }
std::span<const WriteCommand> completion_commands() { return kCommands; }

}  // namespace ringer::sim::verbs
