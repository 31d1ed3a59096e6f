// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>

#include <ringer/sim/link_address.hpp>
#include <ringer/sim/verbs_host.hpp>
#include <ringer/sim/verbs_identity.hpp>
#include <ringer/sim/verbs_tree.hpp>

#include "device_model.hpp"

namespace ringer::sim::verbs {

namespace {

namespace fs = std::filesystem;

template <class... Values>
std::string format(const char* pattern, Values... values) {
  std::array<char, 128> text;
  std::snprintf(text.data(), text.size(), pattern, values...);
  return text.data();
}

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream file;
  file.exceptions(std::ios::failbit | std::ios::badbit);
  file.open(path);
  file << text << '\n';
  file.close();
}

// As sysfs prints 64 bits: four groups of 16.
std::string groups(uint64_t value) {
  const auto group = [&](uint32_t shift) { return static_cast<uint32_t>(value >> shift) & 0xffff; };
  return format("%04x:%04x:%04x:%04x", group(48), group(32), group(16), group(0));
}

void write_gids(const fs::path& at, LinkLayer link, uint16_t lid) {
  for (uint32_t index = 0; index < kGidTable; ++index) {
    const std::string entry = std::to_string(index);
    const bool used = index < gid_count(link);
    const Gid gid = used ? gid_of(link, lid, index) : Gid{};
    Be64 halves[2];
    std::memcpy(halves, gid.raw.data(), sizeof halves);
    write(at / "gids" / entry, groups(halves[0].value()) + ":" + groups(halves[1].value()));
    if (!used) continue;
    write(at / "gid_attrs/types" / entry, gid.type == GidType::roce_v2 ? "RoCE v2" : "IB/RoCE v1");
  }
}

void write_port(const fs::path& at, LinkLayer link, uint32_t device, uint32_t port) {
  const uint16_t lid = VerbsHost::lid_of(device, port);
  const bool ethernet = link == LinkLayer::ethernet;
  write_gids(at, link, lid);
  write(at / "pkeys/0", format("0x%04x", kFullMemberPkey));
  write(at / "link_layer", ethernet ? "Ethernet" : "InfiniBand");
  write(at / "state", "4: ACTIVE");
  write(at / "phys_state", "5: LinkUp");
  write(at / "rate", "100 Gb/sec (4X EDR)");
  write(at / "lid", format("0x%x", ethernet ? 0 : lid));
  write(at / "lid_mask_count", "0");
  write(at / "sm_lid", format("0x%x", ethernet ? 0 : VerbsHost::lid_of(0, 1)));
  write(at / "sm_sl", "0");
  write(at / "cap_mask", ethernet ? "0x04010000" : "0x00004800");
}

void write_pci_function(const fs::path& at, LinkLayer link, uint32_t device) {
  const char* subclass = link == LinkLayer::ethernet ? "00" : "07";
  write(at / "modalias", format("pci:v%08Xd%08Xsv%08Xsd%08Xbc02sc%si00", kPciVendor, kPciDevice,
                                kPciVendor, device, subclass));
  write(at / "vendor", format("0x%04x", kPciVendor));
  write(at / "device", format("0x%04x", kPciDevice));
  write(at / "subsystem_vendor", format("0x%04x", kPciVendor));
  write(at / "subsystem_device", format("0x%04x", device));
  write(at / "class", format("0x02%s00", subclass));
  write(at / "numa_node", "-1");
  fs::create_symlink("/sys/bus/pci/drivers/mlx5_core", at / "driver");
}

void write_device(const fs::path& root, LinkLayer link, uint32_t device, uint32_t ports) {
  const std::string hca = "mlx5_" + std::to_string(device);
  const std::string node = "uverbs" + std::to_string(device);
  const std::string number = format("%u:%u", kCharMajor, kFirstCharMinor + device);
  const fs::path at = root / "sys/class/infiniband" / hca;
  write(at / "node_type", "1: CA");
  write(at / "node_guid", groups(node_guid(device)));
  write(at / "sys_image_guid", groups(node_guid(device)));
  write(at / "fw_ver", format("%u.%u.%u", kFirmware[0], kFirmware[1], kFirmware[2]));
  write(at / "hca_type", kHcaType);
  write(at / "board_id", kBoardId);
  write(at / "hw_rev", "0");
  write(at / "node_desc", "ringer " + hca);
  for (uint32_t port = 1; port <= ports; ++port) {
    write_port(at / "ports" / std::to_string(port), link, device, port);
  }
  write_pci_function(at / "device", link, device);
  write(at / "device/infiniband" / hca / "node_guid", groups(node_guid(device)));
  for (const fs::path& verbs :
       {root / "sys/class/infiniband_verbs" / node, at / "device/infiniband_verbs" / node}) {
    write(verbs / "ibdev", hca);
    write(verbs / "dev", number);
    write(verbs / "abi_version", "1");
  }
  write(root / "dev/infiniband" / node, "");
}

}  // namespace

void write_device_tree(const fs::path& root, uint32_t devices, uint32_t ports, LinkLayer link) {
  write(root / "sys/class/infiniband_verbs/abi_version", "6");
  for (uint32_t device = 0; device < devices; ++device) write_device(root, link, device, ports);
}

}  // namespace ringer::sim::verbs
