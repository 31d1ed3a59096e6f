// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cerrno>
#include <cstring>

#include <ringer/control_plane.hpp>
#include <ringer/verbs/device.hpp>

namespace ringer::verbs {

namespace {

constexpr uint32_t kMaxGids = 256;

void query_port(const VerbsLibrary& verbs, ibv_context* context, uint32_t number,
                ibv_port_attr& port) {
  port = {};
  const int error = verbs.query_port(context, static_cast<uint8_t>(number),
                                     reinterpret_cast<_compat_ibv_port_attr*>(&port));
  if (error != 0) fail("ibv_query_port", context->device->name, error);
}

// Calls `visit` with each device until it returns true.
void for_each_device(const VerbsLibrary& verbs, const std::function<bool(ibv_device*)>& visit) {
  int count = 0;
  ibv_device** list = verbs.get_device_list(&count);
  if (list == nullptr) {
    if (errno == ENOSYS) {
      throw BackendError(
          "verbs: this machine's kernel has no InfiniBand; 'ringer run -- COMMAND' emulates a NIC");
    }
    fail("ibv_get_device_list", "this machine", errno);
  }
  struct FreeList {
    const VerbsLibrary& verbs;
    ibv_device** list;
    ~FreeList() { verbs.free_device_list(list); }
  } free_list{verbs, list};
  for (int i = 0; i < count; ++i) {
    if (visit(list[i])) return;
  }
}

std::vector<GidFacts> read_gids(const VerbsLibrary& verbs, ibv_context* context, uint32_t port,
                                int count) {
  std::vector<GidFacts> gids(std::min(static_cast<uint32_t>(std::max(count, 0)), kMaxGids));
  for (uint32_t i = 0; i < gids.size(); ++i) {
    ibv_gid_entry entry{};
    // ENODATA: nothing at this index.
    if (verbs.query_gid_ex(context, port, i, &entry, 0, sizeof(entry)) != 0) continue;
    std::memcpy(gids[i].raw, entry.gid.raw, sizeof(gids[i].raw));
    gids[i].roce_v2 = entry.gid_type == IBV_GID_TYPE_ROCE_V2;
  }
  return gids;
}

void append_ports(const VerbsLibrary& verbs, ibv_device* device, std::vector<PortFacts>& ports) {
  ibv_context* context = verbs.open_device(device);
  if (context == nullptr) return;  // of another user, or going away
  const Owned<ibv_context> closes(context, verbs.close_device);
  ibv_device_attr attributes{};
  if (verbs.query_device(context, &attributes) != 0) return;
  for (uint32_t number = 1; number <= attributes.phys_port_cnt; ++number) {
    ibv_port_attr port;
    query_port(verbs, context, number, port);
    ports.push_back({device->name, number, port.state == IBV_PORT_ACTIVE,
                     port.link_layer == IBV_LINK_LAYER_ETHERNET, port.lid,
                     read_gids(verbs, context, number, port.gid_tbl_len)});
  }
}

}  // namespace

std::vector<PortFacts> list_ports(const DeviceFilter& counts) {
  const VerbsLibrary& verbs = VerbsLibrary::load();
  std::vector<PortFacts> ports;
  for_each_device(verbs, [&](ibv_device* device) {
    if (counts(device)) append_ports(verbs, device, ports);
    return false;
  });
  return ports;
}

Device::Device(const PortChoice& chosen, const FabricSettings& wanted)
    : verbs(VerbsLibrary::load()), choice(chosen), settings(wanted) {
  for_each_device(verbs, [&](ibv_device* device) {
    if (choice.device != device->name) return false;
    context = verbs.open_device(device);
    if (context == nullptr) fail("ibv_open_device", choice.device, errno);
    return true;
  });
  if (context == nullptr) throw BackendError("open_nic: there is no device " + choice.device);
  Owned<ibv_context> closes(context, verbs.close_device);
  query_port(verbs, context, choice.port, port);
  if (const int error = verbs.query_device(context, &attributes); error != 0) {
    fail("ibv_query_device", name(), error);
  }
  ibv_gid_entry entry{};
  if (verbs.query_gid_ex(context, choice.port, static_cast<uint32_t>(choice.gid_index), &entry, 0,
                         sizeof(entry)) == 0) {
    gid = entry.gid;
  } else if (is_ethernet()) {
    fail("ibv_query_gid", name(), errno);
  }
  pd = verbs.alloc_pd(context);
  if (pd == nullptr) fail("ibv_alloc_pd", name(), errno);
  closes.release();
}

Device::~Device() {
  verbs.dealloc_pd(pd);
  verbs.close_device(context);
}

}  // namespace ringer::verbs
