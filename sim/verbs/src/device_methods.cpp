// SPDX-License-Identifier: Apache-2.0
// Contexts and queries of the device.
#include "methods.hpp"

namespace ringer::sim::verbs {

namespace {

void put_core_context(const Request& request, uint32_t vectors_id, uint32_t support_id) {
  request.out(vectors_id, kCompletionVectors);
  request.out(support_id, uint64_t{IB_UVERBS_CORE_SUPPORT_OPTIONAL_MR_ACCESS});
}

void get_context(Context& context, const Request& request) {
  require(!context.ready, EINVAL);
  const auto in = request.driver_in().as<mlx5_ib_alloc_ucontext_req_v2>();
  constexpr uint64_t kNeeded = MLX5_LIB_CAP_4K_UAR | MLX5_LIB_CAP_DYN_UAR;
  require((in.lib_caps & kNeeded) == kNeeded, EOPNOTSUPP);
  require(in.max_cqe_version >= 1, EOPNOTSUPP);
  put_core_context(request, UVERBS_ATTR_GET_CONTEXT_NUM_COMP_VECTORS,
                   UVERBS_ATTR_GET_CONTEXT_CORE_SUPPORT);
  request.driver_out().put(context.device.model.user_context());
  context.ready = true;
}

void query_context(Context& context, const Request& request) {
  require(context.ready, EINVAL);
  put_core_context(request, UVERBS_ATTR_QUERY_CONTEXT_NUM_COMP_VECTORS,
                   UVERBS_ATTR_QUERY_CONTEXT_CORE_SUPPORT);
  request.out(MLX5_IB_ATTR_QUERY_CONTEXT_RESP_UCTX, context.device.model.user_context());
}

void query_port(Context& context, const Request& request) {
  const uint32_t port = request.in<uint8_t>(UVERBS_ATTR_QUERY_PORT_PORT_NUM);
  require(context.device.model.has_port(port), EINVAL);
  ib_uverbs_query_port_resp_ex out{};
  out.legacy_resp = context.device.model.port(port);
  request.out(UVERBS_ATTR_QUERY_PORT_RESP, out);
}

void query_gid_entry(Context& context, const Request& request) {
  const auto port = request.in<uint32_t>(UVERBS_ATTR_QUERY_GID_ENTRY_PORT);
  const auto index = request.in<uint32_t>(UVERBS_ATTR_QUERY_GID_ENTRY_GID_INDEX);
  require(request.in_or<uint32_t>(UVERBS_ATTR_QUERY_GID_ENTRY_FLAGS, 0) == 0, EINVAL);
  require(context.device.model.has_port(port) && index < kGidTable, EINVAL);
  require(index < context.device.model.gids(), ENODATA);
  request.out(UVERBS_ATTR_QUERY_GID_ENTRY_RESP_ENTRY, context.device.model.gid(port, index));
}

void query_gid_table(Context& context, const Request& request) {
  const DeviceModel& model = context.device.model;
  const auto stride = request.in<uint64_t>(UVERBS_ATTR_QUERY_GID_TABLE_ENTRY_SIZE);
  require(request.in_or<uint32_t>(UVERBS_ATTR_QUERY_GID_TABLE_FLAGS, 0) == 0, EINVAL);
  require(stride != 0, EINVAL);
  const OutBuffer entries = request.out_buffer(UVERBS_ATTR_QUERY_GID_TABLE_RESP_ENTRIES);
  require(entries.size() / stride >= uint64_t{model.ports} * model.gids(), EINVAL);
  uint64_t count = 0;
  for (uint32_t port = 1; port <= model.ports; ++port) {
    for (uint32_t index = 0; index < model.gids(); ++index, ++count) {
      OutBuffer(entries.data() + count * stride, stride).put(model.gid(port, index));
    }
  }
  request.out(UVERBS_ATTR_QUERY_GID_TABLE_RESP_NUM_ENTRIES, count);
}

void query_device_command(Context& context, const ib_uverbs_query_device&,
                          ib_uverbs_query_device_resp& out, const WriteCall&) {
  out = context.device.model.device();
}

// Its answer may be cut short: how much of it there was room for is part of the answer.
void extended_query_device(Context& context, const WriteCall& call) {
  const auto in = call.in.as<ib_uverbs_ex_query_device>();
  require(in.comp_mask == 0 && in.reserved == 0, EINVAL);
  ib_uverbs_ex_query_device_resp out = context.device.model.extended_device();
  out.response_length = static_cast<uint32_t>(std::min(sizeof out, call.out.size()));
  call.out.put(out);
  mlx5_ib_query_device_resp driver{};
  driver.response_length = static_cast<uint32_t>(std::min(sizeof driver, call.driver_out.size()));
  call.driver_out.put(driver);
}

void query_port_command(Context& context, const ib_uverbs_query_port& in,
                        ib_uverbs_query_port_resp& out, const WriteCall&) {
  require(context.device.model.has_port(in.port_num), EINVAL);
  out = context.device.model.port(in.port_num);
}

constexpr Method kMethods[] = {
    {UVERBS_OBJECT_DEVICE, UVERBS_METHOD_INVOKE_WRITE, up_to(UVERBS_ATTR_WRITE_CMD), kDriverInOut,
     invoke_write, kWithoutNic},
    {UVERBS_OBJECT_DEVICE, UVERBS_METHOD_GET_CONTEXT, up_to(UVERBS_ATTR_GET_CONTEXT_CORE_SUPPORT),
     kDriverInOut, get_context},
    {UVERBS_OBJECT_DEVICE, UVERBS_METHOD_QUERY_CONTEXT,
     up_to(UVERBS_ATTR_QUERY_CONTEXT_CORE_SUPPORT), up_to(MLX5_IB_ATTR_QUERY_CONTEXT_RESP_UCTX),
     query_context, kWithoutNic},
    {UVERBS_OBJECT_DEVICE, UVERBS_METHOD_QUERY_PORT, up_to(UVERBS_ATTR_QUERY_PORT_RESP),
     kNoAttributes, query_port, kWithoutNic},
    {UVERBS_OBJECT_DEVICE, UVERBS_METHOD_QUERY_GID_ENTRY,
     up_to(UVERBS_ATTR_QUERY_GID_ENTRY_RESP_ENTRY), kNoAttributes, query_gid_entry, kWithoutNic},
    {UVERBS_OBJECT_DEVICE, UVERBS_METHOD_QUERY_GID_TABLE,
     up_to(UVERBS_ATTR_QUERY_GID_TABLE_RESP_NUM_ENTRIES), kNoAttributes, query_gid_table,
     kWithoutNic},
};

constexpr uint32_t extended(uint32_t number) { return number | IB_USER_VERBS_CMD_FLAG_EXTENDED; }

constexpr WriteCommand kCommands[] = {
    write_command<ib_uverbs_query_device, ib_uverbs_query_device_resp, query_device_command>(
        IB_USER_VERBS_CMD_QUERY_DEVICE, kWithoutNic),
    {extended(IB_USER_VERBS_EX_CMD_QUERY_DEVICE), sizeof(ib_uverbs_ex_query_device),
     offsetof(ib_uverbs_ex_query_device_resp, odp_caps), extended_query_device, kWithoutNic},
    write_command<ib_uverbs_query_port, ib_uverbs_query_port_resp, query_port_command>(
        IB_USER_VERBS_CMD_QUERY_PORT, kWithoutNic),
};

}  // namespace

std::span<const Method> device_methods() { return kMethods; }
std::span<const WriteCommand> device_commands() { return kCommands; }

}  // namespace ringer::sim::verbs
