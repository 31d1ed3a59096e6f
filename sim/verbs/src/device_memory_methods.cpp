// SPDX-License-Identifier: Apache-2.0
// Device memory, of which there is the kind that programs map (MEMIC), and memory regions in it.
#include <rdma/mlx5_user_ioctl_verbs.h>

#include <ringer/control_plane.hpp>

#include "memory_access.hpp"
#include "methods.hpp"

namespace ringer::sim::verbs {

namespace {

constexpr uint32_t kLogPage = 12;
static_assert(1u << kLogPage == Bar::kPageBytes);

// Where it lies in its first page: always at the beginning.
constexpr uint64_t kStartOffset = 0;

void alloc_dm(Context& context, const Request& request) {
  const auto bytes = request.in<uint64_t>(UVERBS_ATTR_ALLOC_DM_LENGTH);
  const auto log_alignment = request.in<uint32_t>(UVERBS_ATTR_ALLOC_DM_ALIGNMENT);
  const auto type =
      request.in_or<uint64_t>(MLX5_IB_ATTR_ALLOC_DM_REQ_TYPE, MLX5_IB_UAPI_DM_TYPE_MEMIC);
  require(type == MLX5_IB_UAPI_DM_TYPE_MEMIC, EOPNOTSUPP);
  require(bytes != 0 && log_alignment <= kLogPage, EINVAL);
  require(bytes <= kMaxDeviceMemory, ENOMEM);
  const auto& memory = context.objects.make<DeviceMemory>(context.bar, bytes);
  request.set_handle(UVERBS_ATTR_ALLOC_DM_HANDLE, memory.handle());
  request.out(MLX5_IB_ATTR_ALLOC_DM_RESP_START_OFFSET, kStartOffset);
  request.out(MLX5_IB_ATTR_ALLOC_DM_RESP_PAGE_INDEX, static_cast<uint16_t>(memory.page));
}

void free_dm(Context& context, const Request& request) {
  context.objects.take<DeviceMemory>(request.handle(UVERBS_ATTR_FREE_DM_HANDLE), ENOENT);
}

void query_dm(Context& context, const Request& request) {
  const auto& memory =
      context.objects.at<DeviceMemory>(request.handle(MLX5_IB_ATTR_QUERY_DM_REQ_HANDLE), ENOENT);
  request.out(MLX5_IB_ATTR_QUERY_DM_RESP_START_OFFSET, kStartOffset);
  request.out(MLX5_IB_ATTR_QUERY_DM_RESP_PAGE_INDEX, static_cast<uint16_t>(memory.page));
  request.out(MLX5_IB_ATTR_QUERY_DM_RESP_LENGTH, memory.bytes);
}

void reg_dm_mr(Context& context, const Request& request) {
  auto& memory =
      context.objects.at<DeviceMemory>(request.handle(UVERBS_ATTR_REG_DM_MR_DM_HANDLE), ENOENT);
  auto& pd =
      context.objects.at<ProtectionDomain>(request.handle(UVERBS_ATTR_REG_DM_MR_PD_HANDLE), ENOENT);
  const auto offset = request.in<uint64_t>(UVERBS_ATTR_REG_DM_MR_OFFSET);
  const auto bytes = request.in<uint64_t>(UVERBS_ATTR_REG_DM_MR_LENGTH);
  const auto flags = request.in_or<uint32_t>(UVERBS_ATTR_REG_DM_MR_ACCESS_FLAGS, 0);
  // Nobody knows its address, so WQEs count from where the region begins.
  require((flags & IB_UVERBS_ACCESS_ZERO_BASED) != 0, EINVAL);
  check_access(flags, access::all | IB_UVERBS_ACCESS_ZERO_BASED);
  require(offset <= memory.bytes && bytes <= memory.bytes - offset, EINVAL);
  MemoryRange range;
  range.bytes = bytes;
  range.host = memory.data() + offset;
  range.access = flags & access::all;
  range.protection_domain = pd.number;
  const auto& mr = context.objects.make<MemoryRegionObject>(context.nic, range, pd, &memory);
  request.set_handle(UVERBS_ATTR_REG_DM_MR_HANDLE, mr.handle());
  request.out(UVERBS_ATTR_REG_DM_MR_RESP_LKEY, mr.key);
  request.out(UVERBS_ATTR_REG_DM_MR_RESP_RKEY, mr.key);
}

constexpr Method kMethods[] = {
    {UVERBS_OBJECT_DM, UVERBS_METHOD_DM_ALLOC, up_to(UVERBS_ATTR_ALLOC_DM_ALIGNMENT),
     up_to(MLX5_IB_ATTR_ALLOC_DM_REQ_TYPE), alloc_dm, kWithoutNic},
    {UVERBS_OBJECT_DM, UVERBS_METHOD_DM_FREE, up_to(UVERBS_ATTR_FREE_DM_HANDLE), kNoAttributes,
     free_dm, kWithoutNic},
    {UVERBS_OBJECT_DM, MLX5_IB_METHOD_DM_QUERY, kNoAttributes,
     up_to(MLX5_IB_ATTR_QUERY_DM_RESP_LENGTH), query_dm, kWithoutNic},
    {UVERBS_OBJECT_MR, UVERBS_METHOD_DM_MR_REG, up_to(UVERBS_ATTR_REG_DM_MR_RESP_RKEY),
     kNoAttributes, reg_dm_mr},
};

}  // namespace

std::span<const Method> device_memory_methods() { return kMethods; }

}  // namespace ringer::sim::verbs
