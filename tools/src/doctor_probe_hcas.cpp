// SPDX-License-Identifier: Apache-2.0
// RDMA devices as /sys/class/infiniband shows them.
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <map>

#include <fcntl.h>
#include <unistd.h>

#include "doctor_facts.hpp"
#include "machine_files.hpp"

namespace ringer::tools {

namespace fs = std::filesystem;

namespace {

// "4: ACTIVE" -> "ACTIVE"
std::string behind_colon(const fs::path& file) {
  std::string text = first_line(file).value_or("");
  const size_t colon = text.find(": ");
  return colon == std::string::npos ? text : text.substr(colon + 2);
}

// Of eight groups of four hexadecimal digits; nothing if it is zero, or something else.
std::optional<Gid> parse_gid(const std::string& text) {
  Gid gid;
  gid.text = text;
  if (text.size() != 39) return std::nullopt;
  for (size_t i = 0; i < 16; ++i) {
    const char* digits = text.data() + i * 2 + i / 2;
    if (std::from_chars(digits, digits + 2, gid.bytes[i], 16).ptr != digits + 2)
      return std::nullopt;
  }
  const bool zero =
      std::all_of(gid.bytes.begin(), gid.bytes.end(), [](uint8_t b) { return b == 0; });
  return zero ? std::nullopt : std::optional(gid);
}

std::vector<Gid> read_gids(const fs::path& port) {
  std::vector<Gid> gids;
  for (const fs::path& file : entries(port / "gids")) {
    const std::string name = file.filename().string();
    std::optional<Gid> gid = parse_gid(first_line(file).value_or(""));
    if (!gid || !is_numbered(name, "")) continue;
    gid->index = static_cast<uint32_t>(leading_number(name).value_or(0));
    gid->type = first_line(port / "gid_attrs/types" / name).value_or("");
    gids.push_back(*gid);
  }
  std::sort(gids.begin(), gids.end(), [](const Gid& a, const Gid& b) { return a.index < b.index; });
  return gids;
}

// GIDs name the network device; without any the PCI function does, if it has but one.
std::string netdev_of(const fs::path& device, const fs::path& port) {
  for (const fs::path& file : entries(port / "gid_attrs/ndevs")) {
    if (const auto name = first_line(file); name && !name->empty()) return *name;
  }
  const auto nets = entries(device / "device/net");
  if (nets.size() == 1) return nets[0].filename().string();
  return first_line(device / "parent").value_or("");
}

RdmaPort read_port(const fs::path& root, const fs::path& device, const fs::path& directory) {
  RdmaPort port;
  port.number = static_cast<uint32_t>(leading_number(directory.filename().string()).value_or(0));
  port.state = behind_colon(directory / "state");
  port.physical_state = behind_colon(directory / "phys_state");
  port.rate = first_line(directory / "rate").value_or("");
  port.link_layer = first_line(directory / "link_layer").value_or("");
  port.pkey = first_line(directory / "pkeys/0").value_or("");
  port.gids = read_gids(directory);
  if (port.link_layer == "Ethernet") {
    port.netdev = netdev_of(device, directory);
    if (const auto mtu = first_number(root / "sys/class/net" / port.netdev / "mtu"))
      port.netdev_mtu = static_cast<uint32_t>(*mtu);
  }
  return port;
}

std::map<std::string, std::string> uverbs_by_device(const fs::path& root) {
  std::map<std::string, std::string> found;
  for (const fs::path& entry : entries(root / "sys/class/infiniband_verbs")) {
    if (const auto device = first_line(entry / "ibdev"))
      found.emplace(*device, entry.filename().string());
  }
  return found;
}

// Opened for real: neither mode bits nor their owner say what a container's device filter does.
// Nothing is created in the kernel before the first command.
std::string open_trouble(const fs::path& node) {
  const int fd = ::open(node.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return std::strerror(errno);
  ::close(fd);
  return "";
}

}  // namespace

std::vector<Hca> probe_hcas(const fs::path& root) {
  const auto uverbs = uverbs_by_device(root);
  std::vector<Hca> hcas;
  for (const fs::path& device : entries(root / "sys/class/infiniband")) {
    Hca hca;
    hca.name = device.filename().string();
    hca.driver = driver_of(device);
    hca.firmware = first_line(device / "fw_ver").value_or("");
    hca.type = first_line(device / "hca_type").value_or("");
    hca.pci = read_pci_device(device / "device");
    if (const auto node = uverbs.find(hca.name); node != uverbs.end()) {
      hca.uverbs = node->second;
      hca.uverbs_trouble = open_trouble(root / "dev/infiniband" / hca.uverbs);
    }
    for (const fs::path& port : entries(device / "ports")) {
      hca.ports.push_back(read_port(root, device, port));
    }
    hcas.push_back(std::move(hca));
  }
  return hcas;
}

}  // namespace ringer::tools
