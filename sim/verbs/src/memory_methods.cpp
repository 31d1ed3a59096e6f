// SPDX-License-Identifier: Apache-2.0
// Protection domains, memory regions and windows, address handles.
#include <ringer/control_plane.hpp>

#include "memory_map.hpp"
#include "methods.hpp"

namespace ringer::sim::verbs {

namespace {

constexpr uint32_t kKnownAccess =
    IB_UVERBS_ACCESS_LOCAL_WRITE | IB_UVERBS_ACCESS_REMOTE_WRITE | IB_UVERBS_ACCESS_REMOTE_READ |
    IB_UVERBS_ACCESS_REMOTE_ATOMIC | IB_UVERBS_ACCESS_MW_BIND | IB_UVERBS_ACCESS_ZERO_BASED |
    IB_UVERBS_ACCESS_ON_DEMAND | IB_UVERBS_ACCESS_HUGETLB | IB_UVERBS_ACCESS_OPTIONAL_RANGE;
constexpr uint64_t kInPage = 4095;

// As ibv_rereg_mr's flags.
constexpr uint32_t kChangeTranslation = 1;
constexpr uint32_t kChangePd = 2;
constexpr uint32_t kChangeAccess = 4;

constexpr uint32_t kWindowTypes = 2;

void check_access(uint32_t flags) {
  constexpr uint32_t kNeedLocalWrite =
      IB_UVERBS_ACCESS_REMOTE_WRITE | IB_UVERBS_ACCESS_REMOTE_ATOMIC;
  require((flags & ~kKnownAccess) == 0, EINVAL);
  require((flags & kNeedLocalWrite) == 0 || (flags & IB_UVERBS_ACCESS_LOCAL_WRITE) != 0, EINVAL);
  require((flags & IB_UVERBS_ACCESS_ON_DEMAND) == 0, EOPNOTSUPP);
}

// The memory must be there for all that the NIC may do to it.
void place(MemoryRange& range, uint64_t start, uint64_t bytes, uint64_t iova) {
  require((start & kInPage) == (iova & kInPage), EINVAL);
  require(bytes != 0, EINVAL);
  require_mapped(start, bytes, (range.access & access::local_write) != 0);
  range.start = iova;
  range.bytes = bytes;
  range.host = reinterpret_cast<uint8_t*>(start);
}

void alloc_pd(Context& context, const ib_uverbs_alloc_pd&, ib_uverbs_alloc_pd_resp& out,
              const WriteCall& call) {
  const auto& pd = context.objects.make<ProtectionDomain>(context.device.next_pd++);
  out.pd_handle = pd.handle();
  call.driver_out.put(mlx5_ib_alloc_pd_resp{pd.number});
}

void query_pd(Context& context, const Request& request) {
  const auto& pd =
      context.objects.at<ProtectionDomain>(request.handle(MLX5_IB_ATTR_QUERY_PD_HANDLE));
  request.out(MLX5_IB_ATTR_QUERY_PD_RESP_PDN, pd.number);
}

void reg_mr(Context& context, const ib_uverbs_reg_mr& in, ib_uverbs_reg_mr_resp& out,
            const WriteCall&) {
  check_access(in.access_flags);
  auto& pd = context.objects.at<ProtectionDomain>(in.pd_handle);
  MemoryRange range;
  range.access = in.access_flags & access::all;
  range.protection_domain = pd.number;
  place(range, in.start, in.length, in.hca_va);
  const auto& mr = context.objects.make<MemoryRegionObject>(context.nic, range, pd);
  out.mr_handle = mr.handle();
  out.lkey = mr.key;
  out.rkey = mr.key;
}

void rereg_mr(Context& context, const ib_uverbs_rereg_mr& in, ib_uverbs_rereg_mr_resp& out,
              const WriteCall&) {
  constexpr uint32_t kKnown = kChangeTranslation | kChangePd | kChangeAccess;
  require(in.flags != 0 && (in.flags & ~kKnown) == 0, EINVAL);
  auto& mr = context.objects.at<MemoryRegionObject>(in.mr_handle);
  MemoryRange range = mr.range;
  if ((in.flags & kChangeAccess) != 0) {
    check_access(in.access_flags);
    range.access = in.access_flags & access::all;
  }
  const bool moves = (in.flags & kChangeTranslation) != 0;
  place(range, moves ? in.start : reinterpret_cast<uint64_t>(range.host),
        moves ? in.length : range.bytes, moves ? in.hca_va : range.start);
  ProtectionDomain& pd = (in.flags & kChangePd) != 0
                             ? context.objects.at<ProtectionDomain>(in.pd_handle)
                             : *mr.pd.get();
  range.protection_domain = pd.number;
  context.nic.change_range(mr.key, range);
  mr.range = range;
  mr.pd = Use(pd);
  out.lkey = mr.key;
  out.rkey = mr.key;
}

void query_mr(Context& context, const Request& request) {
  const auto& mr =
      context.objects.at<MemoryRegionObject>(request.handle(UVERBS_ATTR_QUERY_MR_HANDLE));
  request.out(UVERBS_ATTR_QUERY_MR_RESP_LKEY, mr.key);
  request.out(UVERBS_ATTR_QUERY_MR_RESP_RKEY, mr.key);
  request.out(UVERBS_ATTR_QUERY_MR_RESP_LENGTH, mr.range.bytes);
  request.out(UVERBS_ATTR_QUERY_MR_RESP_IOVA, mr.range.start);
}

void alloc_mw(Context& context, const ib_uverbs_alloc_mw& in, ib_uverbs_alloc_mw_resp& out,
              const WriteCall&) {
  require(in.mw_type >= 1 && in.mw_type <= kWindowTypes, EINVAL);
  auto& pd = context.objects.at<ProtectionDomain>(in.pd_handle);
  const auto& mw = context.objects.make<MemoryWindow>(context.nic, pd);
  out.mw_handle = mw.handle();
  out.rkey = mw.key;
}

// The address vector goes into each WQE; the device keeps nothing of it.
void create_ah(Context& context, const ib_uverbs_create_ah& in, ib_uverbs_create_ah_resp& out,
               const WriteCall& call) {
  require(context.device.model.has_port(in.attr.port_num), EINVAL);
  require(in.attr.is_global == 0 || in.attr.grh.sgid_index < kGids, EINVAL);
  auto& pd = context.objects.at<ProtectionDomain>(in.pd_handle);
  out.ah_handle = context.objects.make<AddressHandle>(pd).handle();
  mlx5_ib_create_ah_resp driver{};
  driver.response_length = static_cast<uint32_t>(std::min(sizeof driver, call.driver_out.size()));
  call.driver_out.put(driver);
}

constexpr Method kMethods[] = {
    {UVERBS_OBJECT_PD, UVERBS_METHOD_PD_DESTROY, up_to(UVERBS_ATTR_DESTROY_PD_HANDLE),
     kNoAttributes, destroy_method<ProtectionDomain>},
    {UVERBS_OBJECT_PD, MLX5_IB_METHOD_PD_QUERY, kNoAttributes,
     up_to(MLX5_IB_ATTR_QUERY_PD_RESP_PDN), query_pd},
    {UVERBS_OBJECT_MR, UVERBS_METHOD_MR_DESTROY, up_to(UVERBS_ATTR_DESTROY_MR_HANDLE),
     kNoAttributes, destroy_method<MemoryRegionObject>},
    {UVERBS_OBJECT_MR, UVERBS_METHOD_QUERY_MR, up_to(UVERBS_ATTR_QUERY_MR_RESP_IOVA), kNoAttributes,
     query_mr},
    {UVERBS_OBJECT_MW, UVERBS_METHOD_MW_DESTROY, up_to(UVERBS_ATTR_DESTROY_MW_HANDLE),
     kNoAttributes, destroy_method<MemoryWindow>},
    {UVERBS_OBJECT_AH, UVERBS_METHOD_AH_DESTROY, up_to(UVERBS_ATTR_DESTROY_AH_HANDLE),
     kNoAttributes, destroy_method<AddressHandle>},
};

constexpr WriteCommand kCommands[] = {
    write_command<ib_uverbs_alloc_pd, ib_uverbs_alloc_pd_resp, alloc_pd>(
        IB_USER_VERBS_CMD_ALLOC_PD),
    destroy_command<ProtectionDomain, &ib_uverbs_dealloc_pd::pd_handle>(
        IB_USER_VERBS_CMD_DEALLOC_PD),
    write_command<ib_uverbs_reg_mr, ib_uverbs_reg_mr_resp, reg_mr>(IB_USER_VERBS_CMD_REG_MR),
    write_command<ib_uverbs_rereg_mr, ib_uverbs_rereg_mr_resp, rereg_mr>(
        IB_USER_VERBS_CMD_REREG_MR),
    destroy_command<MemoryRegionObject, &ib_uverbs_dereg_mr::mr_handle>(IB_USER_VERBS_CMD_DEREG_MR),
    write_command<ib_uverbs_alloc_mw, ib_uverbs_alloc_mw_resp, alloc_mw>(
        IB_USER_VERBS_CMD_ALLOC_MW),
    destroy_command<MemoryWindow, &ib_uverbs_dealloc_mw::mw_handle>(IB_USER_VERBS_CMD_DEALLOC_MW),
    write_command<ib_uverbs_create_ah, ib_uverbs_create_ah_resp, create_ah>(
        IB_USER_VERBS_CMD_CREATE_AH),
    destroy_command<AddressHandle, &ib_uverbs_destroy_ah::ah_handle>(IB_USER_VERBS_CMD_DESTROY_AH),
};

}  // namespace

std::span<const Method> memory_methods() { return kMethods; }
std::span<const WriteCommand> memory_commands() { return kCommands; }

}  // namespace ringer::sim::verbs
