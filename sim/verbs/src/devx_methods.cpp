// SPDX-License-Identifier: Apache-2.0
// DEVX beside its objects: general firmware commands, event queue and UAR numbers, user memory.
#include "devx.hpp"
#include "memory_map.hpp"
#include "methods.hpp"
#include "prm.hpp"

namespace ringer::sim::verbs {

namespace {

using prm::Field;

// QUERY_HCA_CAP: op_mod is the capability's type times 2, plus 1 for the current value. Every type
// but the general one reads as all zeros: not there.
constexpr uint32_t kGeneralType = 0;
constexpr uint32_t kCapability = 0x80;  // where the capability lies in the answer

struct Capability {
  Field field;
  uint32_t value;
};

constexpr Capability kGeneral[] = {
    {{0x080, 8}, 15},     // log_max_srq_sz
    {{0x088, 8}, 15},     // log_max_qp_sz
    {{0x09b, 5}, 13},     // log_max_qp
    {{0x0ab, 5}, 16},     // log_max_srqs
    {{0x0c8, 8}, 22},     // log_max_cq_sz
    {{0x0db, 5}, 16},     // log_max_cq
    {{0x0ea, 6}, 16},     // log_max_mkey
    {{0x14a, 6}, 4},      // log_max_ra_req_qp
    {{0x15a, 6}, 4},      // log_max_ra_res_qp
    {{0x170, 16}, 0},     // gid_table_size: 8 << value, and the index is checked
    {{0x1ab, 5}, 16},     // local_ca_ack_delay
    {{0x1c3, 5}, 30},     // log_max_msg
    {{0x1fc, 4}, 1},      // cqe_version
    {{0x21e, 1}, 1},      // atomic
    {{0x220, 1}, 1},      // cq_oi
    {{0x221, 1}, 1},      // cq_resize
    {{0x23c, 1}, 1},      // xrc
    {{0x23d, 1}, 1},      // ud
    {{0x23e, 1}, 1},      // uc
    {{0x23f, 1}, 1},      // rc
    {{0x240, 1}, 1},      // uar_4k
    {{0x260, 1}, 1},      // bf
    {{0x26b, 5}, 9},      // log_bf_reg_size
    {{0x290, 16}, 1024},  // max_wqe_sz_sq
    {{0x2b0, 16}, 512},   // max_wqe_sz_rq
    {{0x32b, 5}, 16},     // log_max_pd
    {{0x33b, 5}, 16},     // log_max_xrcd
};
constexpr Field kNumPorts = {0x1b8, 8};
constexpr Field kPortType = {0x1b6, 2};  // 1: Ethernet
constexpr Field kRoce = {0x21d, 1};

void query_hca_cap(const Context& context, const prm::Input& in, prm::Output& out) {
  if (in.get(prm::kOpMod) >> 1 != kGeneralType) return;
  for (const Capability& c : kGeneral) out.set(prm::at(kCapability, c.field), c.value);
  const DeviceModel& model = context.device.model;
  out.set(prm::at(kCapability, kNumPorts), model.ports);
  out.set(prm::at(kCapability, kPortType), model.is_ethernet() ? 1 : 0);
  out.set(prm::at(kCapability, kRoce), model.is_ethernet() ? 1 : 0);
}

void query_hca_vport_context(const Context& context, const prm::Input& in, prm::Output& out) {
  constexpr Field kPortNum = {0x4c, 4};
  constexpr Field kPhysState = {0x190, 4};
  constexpr Field kPortState = {0x198, 4};
  constexpr Field kVportState = {0x19c, 4};
  constexpr Field kLid = {0x380, 16};
  const uint32_t port = std::max(in.get(kPortNum), 1u);  // 0: the only one
  if (!context.device.model.has_port(port)) prm::refuse(out, prm::Status::bad_parameter);
  const ib_uverbs_query_port_resp attributes = context.device.model.port(port);
  out.set(kPhysState, attributes.phys_state);
  out.set(kPortState, attributes.state);
  out.set(kVportState, attributes.state);
  out.set(kLid, attributes.lid);
}

void general_command(Context& context, const Request& request) {
  const prm::Input in(request.in_buffer(MLX5_IB_ATTR_DEVX_OTHER_CMD_IN));
  prm::Output out(request.out_buffer(MLX5_IB_ATTR_DEVX_OTHER_CMD_OUT));
  switch (prm::opcode_of(in)) {
    case prm::Opcode::query_hca_cap:
      return query_hca_cap(context, in, out);
    case prm::Opcode::query_hca_vport_context:
      return query_hca_vport_context(context, in, out);
    default:
      refuse(EINVAL);
  }
}

void query_eqn(Context&, const Request& request) {
  const auto vector = request.in<uint32_t>(MLX5_IB_ATTR_DEVX_QUERY_EQN_USER_VEC);
  require(vector < kCompletionVectors, EINVAL);
  request.out(MLX5_IB_ATTR_DEVX_QUERY_EQN_DEV_EQN, vector + 1);
}

void query_uar(Context& context, const Request& request) {
  const auto page = request.in<uint32_t>(MLX5_IB_ATTR_DEVX_QUERY_UAR_USER_IDX);
  request.out(MLX5_IB_ATTR_DEVX_QUERY_UAR_DEV_IDX, context.uar(page).page);
}

void register_umem(Context& context, const Request& request) {
  const auto address = request.in<uint64_t>(MLX5_IB_ATTR_DEVX_UMEM_REG_ADDR);
  const auto bytes = request.in<uint64_t>(MLX5_IB_ATTR_DEVX_UMEM_REG_LEN);
  const auto access = request.in_or<uint32_t>(MLX5_IB_ATTR_DEVX_UMEM_REG_ACCESS, 0);
  const bool writable = (access & IB_UVERBS_ACCESS_LOCAL_WRITE) != 0;
  std::unique_ptr<DevxUmem> made;
  if (request.has(MLX5_IB_ATTR_DEVX_UMEM_REG_DMABUF_FD)) {  // the address is an offset in it
    const int fd = request.fd(MLX5_IB_ATTR_DEVX_UMEM_REG_DMABUF_FD);
    made = std::make_unique<DevxUmem>(std::make_unique<DmaBufMapping>(fd, address, bytes, writable),
                                      bytes);
  } else {
    require_mapped(address, bytes, writable);
    made = std::make_unique<DevxUmem>(address, bytes);
  }
  const auto& umem = context.objects.add(std::move(made));
  request.set_handle(MLX5_IB_ATTR_DEVX_UMEM_REG_HANDLE, umem.handle());
  request.out(MLX5_IB_ATTR_DEVX_UMEM_REG_OUT_ID, umem.handle());
}

void deregister_umem(Context& context, const Request& request) {
  context.objects.take<DevxUmem>(request.handle(MLX5_IB_ATTR_DEVX_UMEM_DEREG_HANDLE));
}

constexpr Method kMethods[] = {
    {MLX5_IB_OBJECT_DEVX, MLX5_IB_METHOD_DEVX_OTHER, kNoAttributes,
     up_to(MLX5_IB_ATTR_DEVX_OTHER_CMD_OUT), general_command},
    {MLX5_IB_OBJECT_DEVX, MLX5_IB_METHOD_DEVX_QUERY_EQN, kNoAttributes,
     up_to(MLX5_IB_ATTR_DEVX_QUERY_EQN_DEV_EQN), query_eqn},
    {MLX5_IB_OBJECT_DEVX, MLX5_IB_METHOD_DEVX_QUERY_UAR, kNoAttributes,
     up_to(MLX5_IB_ATTR_DEVX_QUERY_UAR_DEV_IDX), query_uar},
    {MLX5_IB_OBJECT_DEVX_UMEM, MLX5_IB_METHOD_DEVX_UMEM_REG, kNoAttributes,
     up_to(MLX5_IB_ATTR_DEVX_UMEM_REG_DMABUF_FD), register_umem},
    {MLX5_IB_OBJECT_DEVX_UMEM, MLX5_IB_METHOD_DEVX_UMEM_DEREG, kNoAttributes,
     up_to(MLX5_IB_ATTR_DEVX_UMEM_DEREG_HANDLE), deregister_umem},
};

}  // namespace

std::span<const Method> devx_methods() { return kMethods; }

}  // namespace ringer::sim::verbs
