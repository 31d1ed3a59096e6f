// SPDX-License-Identifier: Apache-2.0
// Protection domains, memory regions and windows, address handles.
#include <ringer/control_plane.hpp>

#include "memory_access.hpp"
#include "memory_map.hpp"
#include "methods.hpp"

namespace ringer::sim::verbs {

namespace {

constexpr uint64_t kInPage = 4095;

// As ibv_rereg_mr's flags.
constexpr uint32_t kChangeTranslation = 1;
constexpr uint32_t kChangePd = 2;
constexpr uint32_t kChangeAccess = 4;

constexpr uint32_t kWindowTypes = 2;

// All of the address space, whatever is in it when it is used.
bool is_implicit(uint64_t start, uint64_t bytes) { return start == 0 && bytes == ~uint64_t{0}; }

void allow(MemoryRange& range, uint32_t flags) {
  check_access(flags);
  range.access = flags & access::all;
  range.on_demand = (flags & IB_UVERBS_ACCESS_ON_DEMAND) != 0;
}

// The memory must be there for all that the NIC may do to it; on demand, not before it is done.
void place(MemoryRange& range, uint64_t start, uint64_t bytes, uint64_t iova) {
  require((start & kInPage) == (iova & kInPage), EINVAL);
  require(bytes != 0, EINVAL);
  if (!range.on_demand) {
    require_mapped(start, bytes, (range.access & access::local_write) != 0);
  } else if (is_implicit(start, bytes)) {
    require(iova == 0, EINVAL);
  } else {
    require(start + bytes > start, EOVERFLOW);
  }
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
  auto& pd = context.objects.at<ProtectionDomain>(in.pd_handle);
  MemoryRange range;
  allow(range, in.access_flags);
  range.protection_domain = pd.number;
  place(range, in.start, in.length, in.hca_va);
  const auto& mr = context.objects.make<MemoryRegionObject>(context.nic, range, pd);
  out.mr_handle = mr.handle();
  out.lkey = mr.key;
  out.rkey = mr.key;
}

void reg_dmabuf_mr(Context& context, const Request& request) {
  const auto offset = request.in<uint64_t>(UVERBS_ATTR_REG_DMABUF_MR_OFFSET);
  const auto iova = request.in<uint64_t>(UVERBS_ATTR_REG_DMABUF_MR_IOVA);
  const auto flags = request.in<uint32_t>(UVERBS_ATTR_REG_DMABUF_MR_ACCESS_FLAGS);
  constexpr uint32_t kAllowed = IB_UVERBS_ACCESS_LOCAL_WRITE | IB_UVERBS_ACCESS_REMOTE_WRITE |
                                IB_UVERBS_ACCESS_REMOTE_READ | IB_UVERBS_ACCESS_REMOTE_ATOMIC |
                                IB_UVERBS_ACCESS_RELAXED_ORDERING;
  check_access(flags, kAllowed);
  require((offset & kInPage) == (iova & kInPage), EINVAL);
  auto& pd =
      context.objects.at<ProtectionDomain>(request.handle(UVERBS_ATTR_REG_DMABUF_MR_PD_HANDLE));
  MemoryRange range;
  allow(range, flags);
  range.protection_domain = pd.number;
  range.start = iova;
  range.bytes = request.in<uint64_t>(UVERBS_ATTR_REG_DMABUF_MR_LENGTH);
  const int fd = request.fd(UVERBS_ATTR_REG_DMABUF_MR_FD);
  const auto& mr = context.objects.make<DmaBufRegion>(context.nic, range, pd, fd, offset);
  request.set_handle(UVERBS_ATTR_REG_DMABUF_MR_HANDLE, mr.handle());
  request.out(UVERBS_ATTR_REG_DMABUF_MR_RESP_LKEY, mr.key);
  request.out(UVERBS_ATTR_REG_DMABUF_MR_RESP_RKEY, mr.key);
}

void rereg_mr(Context& context, const ib_uverbs_rereg_mr& in, ib_uverbs_rereg_mr_resp& out,
              const WriteCall&) {
  constexpr uint32_t kKnown = kChangeTranslation | kChangePd | kChangeAccess;
  require(in.flags != 0 && (in.flags & ~kKnown) == 0, EINVAL);
  auto& mr = context.objects.at<MemoryRegionObject>(in.mr_handle);
  MemoryRange range = mr.range;
  if ((in.flags & kChangeAccess) != 0) allow(range, in.access_flags);
  const bool moves = (in.flags & kChangeTranslation) != 0;
  const bool stays = mr.device_memory || dynamic_cast<DmaBufRegion*>(&mr) != nullptr;
  require(!moves || !stays, EINVAL);
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

// The region that a prefetch is about: only those that are paged in on demand can be named.
const MemoryRange& prefetchable(const Context& context, const ProtectionDomain& pd, uint32_t lkey,
                                bool writes) {
  const auto* key =
      context.objects.find<MemoryKey>([&](const MemoryKey& each) { return each.key == lkey; });
  require(key != nullptr, ENOENT);
  const auto* mr = dynamic_cast<const MemoryRegionObject*>(key);
  require(mr != nullptr, EINVAL);
  require(mr->range.on_demand, ENOENT);
  require(mr->pd.get() == &pd, EPERM);
  require(!writes || (mr->range.access & access::local_write) != 0, EPERM);
  return mr->range;
}

void prefetch(const MemoryRange& range, const ib_uverbs_sge& piece, uint64_t advice) {
  const uint64_t offset = piece.addr - range.start;
  require(piece.addr >= range.start && offset <= range.bytes, EFAULT);
  require(piece.length <= range.bytes - offset, EFAULT);
  if (advice == IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_NO_FAULT || piece.length == 0) return;
  const uint64_t start = reinterpret_cast<uint64_t>(range.host) + offset;
  populate(start, piece.length, advice == IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_WRITE);
}

// Without the flush flag it need not be done at once, so whether it succeeds is not told.
void advise_mr(Context& context, const Request& request) {
  const auto& pd =
      context.objects.at<ProtectionDomain>(request.handle(UVERBS_ATTR_ADVISE_MR_PD_HANDLE), ENOENT);
  const auto advice = request.in<uint64_t>(UVERBS_ATTR_ADVISE_MR_ADVICE);
  const auto flags = request.in<uint64_t>(UVERBS_ATTR_ADVISE_MR_FLAGS);
  const InBuffer list = request.in_buffer(UVERBS_ATTR_ADVISE_MR_SGE_LIST);
  require((flags & ~uint64_t{IB_UVERBS_ADVISE_MR_FLAG_FLUSH}) == 0, EINVAL);
  require(list.size() != 0 && list.size() % sizeof(ib_uverbs_sge) == 0, EINVAL);
  require(advice <= IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_NO_FAULT, EOPNOTSUPP);
  const bool writes = advice == IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_WRITE;
  const bool flushes = (flags & IB_UVERBS_ADVISE_MR_FLAG_FLUSH) != 0;
  for (size_t at = 0; at < list.size(); at += sizeof(ib_uverbs_sge)) {
    const auto piece = InBuffer(list.data() + at, sizeof(ib_uverbs_sge)).as<ib_uverbs_sge>();
    const MemoryRange& range = prefetchable(context, pd, piece.lkey, writes);
    try {
      prefetch(range, piece, advice);
    } catch (const VerbsError&) {
      if (flushes) throw;
    }
  }
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
  ib_uverbs_qp_dest to{};
  std::memcpy(to.dgid, in.attr.grh.dgid, sizeof to.dgid);
  to.sgid_index = in.attr.grh.sgid_index;
  to.dlid = in.attr.dlid;
  to.is_global = in.attr.is_global;
  const uint16_t lid = context.device.model.lid_at(to);
  auto& pd = context.objects.at<ProtectionDomain>(in.pd_handle);
  out.ah_handle = context.objects.make<AddressHandle>(pd).handle();
  if (!context.device.model.is_ethernet()) return;
  constexpr size_t kAnswer = offsetof(mlx5_ib_create_ah_resp, dmac) + sizeof(MacAddress);
  require(call.driver_out.size() >= kAnswer, EINVAL);
  mlx5_ib_create_ah_resp driver{};
  driver.response_length = kAnswer;
  const MacAddress mac = lid == kNoLid ? mac_of_link_local(to.dgid) : mac_of(lid);
  std::copy(mac.begin(), mac.end(), driver.dmac);
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
    {UVERBS_OBJECT_MR, UVERBS_METHOD_REG_DMABUF_MR, up_to(UVERBS_ATTR_REG_DMABUF_MR_RESP_RKEY),
     kNoAttributes, reg_dmabuf_mr},
    {UVERBS_OBJECT_MR, UVERBS_METHOD_ADVISE_MR, up_to(UVERBS_ATTR_ADVISE_MR_SGE_LIST),
     kNoAttributes, advise_mr},
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
