// SPDX-License-Identifier: Apache-2.0
#include "device_model.hpp"

#include <cerrno>
#include <cstring>

#include <ringer/mlx5/wire.hpp>
#include <ringer/sim/verbs_host.hpp>
#include <ringer/sim/verbs_identity.hpp>
#include <ringer/types.hpp>

#include "verbs_error.hpp"

namespace ringer::sim::verbs {

namespace {

constexpr uint32_t kManyObjects = 1u << 16;
constexpr uint8_t kAtomicsByHca = 1;
constexpr uint8_t kAckDelay = 16;

// As ibv_port_attr counts them.
constexpr uint8_t kPortActive = 4;
constexpr uint8_t kLinkUp = 5;
constexpr uint8_t kMtu4096 = 5;
constexpr uint8_t kFourLanes = 2;
constexpr uint8_t kEdr = 32;

// As ibv_odp_general_caps.
constexpr uint64_t kOnDemand = 1;
constexpr uint64_t kOnDemandImplicit = 2;

// As ibv_odp_transport_cap_bits: what may use memory that is paged in on demand.
constexpr uint32_t kSend = 1;
constexpr uint32_t kReceive = 2;
constexpr uint32_t kWrite = 4;
constexpr uint32_t kRead = 8;
constexpr uint32_t kAtomic = 16;
constexpr uint32_t kSharedReceive = 32;

}  // namespace

uint16_t DeviceModel::lid(uint32_t port) const { return VerbsHost::lid_of(number, port); }

ib_uverbs_query_device_resp DeviceModel::device() const {
  ib_uverbs_query_device_resp out{};
  out.fw_ver = uint64_t{kFirmware[0]} << 32 | uint64_t{kFirmware[1]} << 16 | kFirmware[2];
  out.node_guid = Be64::of(node_guid(number)).raw;
  out.sys_image_guid = out.node_guid;
  out.max_mr_size = ~uint64_t{0};
  out.page_size_cap = 0xfffff000;
  out.vendor_id = kVendorOui;
  out.vendor_part_id = kPciDevice;
  out.max_qp = NicConfig{}.max_queue_pairs;
  out.max_qp_wr = kMaxWr;
  out.device_cap_flags = IB_UVERBS_DEVICE_SYS_IMAGE_GUID | IB_UVERBS_DEVICE_RC_RNR_NAK_GEN |
                         IB_UVERBS_DEVICE_CURR_QP_STATE_MOD | IB_UVERBS_DEVICE_MEM_WINDOW |
                         IB_UVERBS_DEVICE_MEM_WINDOW_TYPE_2B | IB_UVERBS_DEVICE_XRC |
                         IB_UVERBS_DEVICE_MEM_MGT_EXTENSIONS;
  out.max_sge = kMaxSge;
  out.max_sge_rd = kMaxSge;
  out.max_cq = kManyObjects;
  out.max_cqe = kMaxCqe;
  out.max_mr = kManyObjects;
  out.max_pd = kManyObjects;
  out.max_qp_rd_atom = kMaxReads;
  out.max_res_rd_atom = kMaxReads * out.max_qp;
  out.max_qp_init_rd_atom = kMaxReads;
  out.atomic_cap = kAtomicsByHca;
  out.max_mw = kManyObjects;
  out.max_ah = 0x7fffffff;  // address vectors travel inside WQEs
  out.max_srq = kManyObjects;
  out.max_srq_wr = kMaxSrqWr;
  out.max_srq_sge = kMaxSrqSge;
  out.max_pkeys = kPkeys;
  out.local_ca_ack_delay = kAckDelay;
  out.phys_port_cnt = static_cast<uint8_t>(ports);
  return out;
}

ib_uverbs_ex_query_device_resp DeviceModel::extended_device() const {
  ib_uverbs_ex_query_device_resp out{};
  out.base = device();
  out.response_length = sizeof out;
  out.odp_caps.general_caps = kOnDemand | kOnDemandImplicit;
  auto& transports = out.odp_caps.per_transport_caps;
  transports.rc_odp_caps = kSend | kReceive | kWrite | kRead | kAtomic | kSharedReceive;
  transports.uc_odp_caps = kSend | kReceive | kWrite;
  transports.ud_odp_caps = kSend | kReceive | kSharedReceive;
  out.xrc_odp_caps = kSend | kWrite | kRead | kAtomic | kSharedReceive;
  out.timestamp_mask = ~uint64_t{0};
  out.hca_core_clock = 1'000'000;  // in kHz: timestamps are nanoseconds
  out.device_cap_flags_ex = out.base.device_cap_flags;
  out.cq_moderation_caps.max_cq_moderation_count = UINT16_MAX;
  out.cq_moderation_caps.max_cq_moderation_period = 4095;
  out.max_dm_size = kMaxDeviceMemory;
  return out;
}

ib_uverbs_query_port_resp DeviceModel::port(uint32_t port) const {
  ib_uverbs_query_port_resp out{};
  out.port_cap_flags = IB_UVERBS_PCF_SYS_IMAGE_GUID_SUP | IB_UVERBS_PCF_EXTENDED_SPEEDS_SUP;
  out.max_msg_sz = mlx5::Wire::kMaxMessageBytes;
  out.gid_tbl_len = kGidTable;
  out.pkey_tbl_len = kPkeys;
  out.state = kPortActive;
  out.max_mtu = kMtu4096;
  out.active_mtu = kMtu4096;
  out.max_vl_num = 1;
  out.subnet_timeout = 18;
  out.active_width = kFourLanes;
  out.active_speed = kEdr;
  out.phys_state = kLinkUp;
  out.link_layer = static_cast<uint8_t>(link);
  if (is_ethernet()) {
    out.port_cap_flags = IB_UVERBS_PCF_CM_SUP | IB_UVERBS_PCF_IP_BASED_GIDS;
    out.flags = IB_UVERBS_QPF_GRH_REQUIRED;
    out.max_vl_num = 0;
    out.subnet_timeout = 0;
  } else {
    out.lid = lid(port);
    out.sm_lid = VerbsHost::lid_of(0, 1);
  }
  return out;
}

ib_uverbs_gid_entry DeviceModel::gid(uint32_t port, uint32_t index) const {
  ib_uverbs_gid_entry out{};
  const Gid gid = gid_of(link, lid(port), index);
  std::memcpy(out.gid, gid.raw.data(), gid.raw.size());
  out.gid_index = index;
  out.port_num = port;
  out.gid_type = static_cast<uint32_t>(gid.type);
  return out;
}

// RoCE v1 takes a link-local address as it is. All others the network would have to know, and both
// ends of a way over IP are of one family.
uint16_t DeviceModel::lid_at(const ib_uverbs_qp_dest& to) const {
  if (to.is_global != 0) {
    require(to.sgid_index < kGidTable, EINVAL);
    require(to.sgid_index < gids(), ENODATA);
  }
  if (!is_ethernet()) return to.dlid;
  require(to.is_global != 0, EINVAL);
  const uint16_t found = lid_of_gid(link, to.dgid);
  const Gid from = gid_of(link, lid(1), to.sgid_index);
  if (from.type == GidType::roce_v1 && is_link_local(to.dgid)) return found;
  require(is_ipv4(from.raw.data()) == is_ipv4(to.dgid), EINVAL);
  require(found != kNoLid, ENETUNREACH);
  return found;
}

mlx5_ib_alloc_ucontext_resp DeviceModel::user_context() const {
  mlx5_ib_alloc_ucontext_resp out{};
  out.qp_tab_size = 4096;
  out.bf_reg_size = 512;
  out.tot_bfregs = 0;  // UAR pages are allocated one by one
  out.cache_line_size = 64;
  out.max_sq_desc_sz = 1008;
  out.max_rq_desc_sz = 512;
  out.max_send_wqebb = kMaxSqWqebbs;
  out.max_recv_wr = kMaxWr;
  out.max_srq_recv_wr = kMaxSrqWr;
  out.num_ports = static_cast<uint16_t>(ports);
  out.response_length = sizeof out;
  out.cqe_version = 1;
  out.cmds_supp_uhw = MLX5_USER_CMDS_SUPP_UHW_QUERY_DEVICE | MLX5_USER_CMDS_SUPP_UHW_CREATE_AH;
  out.eth_min_inline = MLX5_USER_INLINE_MODE_NONE;
  out.clock_info_versions = 1u << MLX5_IB_CLOCK_INFO_V1;
  out.log_uar_size = 12;
  out.num_uars_per_page = 1;
  out.num_dyn_bfregs = 1024;
  return out;
}

}  // namespace ringer::sim::verbs
