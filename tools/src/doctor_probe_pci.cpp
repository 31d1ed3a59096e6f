// SPDX-License-Identifier: Apache-2.0
// GPUs and NICs on PCI Express. Offsets and bits are those of <linux/pci_regs.h>.
#include <algorithm>
#include <cctype>
#include <fstream>
#include <iterator>

#include "doctor_facts.hpp"
#include "machine_files.hpp"

namespace ringer::tools {

namespace fs = std::filesystem;

namespace {

constexpr const char* kNvidia = "0x10de";
constexpr const char* kMellanox = "0x15b3";
constexpr const char* kDisplayClass = "0x03";
constexpr const char* kNetworkClass = "0x02";

uint32_t little_endian(const std::string& bytes, size_t at, size_t size) {
  uint32_t value = 0;
  for (size_t i = size; i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

std::string config_of(const fs::path& device) {
  std::ifstream in(device / "config", std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// "0000:18:00.0"
bool is_address(const std::string& name) {
  return std::count(name.begin(), name.end(), ':') == 2 &&
         std::count(name.begin(), name.end(), '.') == 1 &&
         std::all_of(name.begin(), name.end(),
                     [](unsigned char c) { return c == ':' || c == '.' || std::isxdigit(c) != 0; });
}

// "pci0000:15"
bool is_host_bridge(const std::string& name) {
  return name.starts_with("pci") && name.find(':') != std::string::npos;
}

std::string link_text(const fs::path& device, const std::string& which) {
  const auto speed = first_line(device / (which + "_link_speed"));
  const auto width = first_number(device / (which + "_link_width"));
  return speed && width ? *speed + " x" + std::to_string(*width) : "";
}

bool is_class(const fs::path& device, const char* vendor, const char* device_class) {
  return first_line(device / "vendor") == vendor &&
         first_line(device / "class").value_or("").starts_with(device_class);
}

// The bridges between a device's host bridge and itself, whose directories contain each other.
void read_bridges(const fs::path& sysfs, NodeFacts& facts) {
  std::error_code error;
  const fs::path device = fs::canonical(sysfs, error);
  if (error) return;
  for (fs::path above = device.parent_path(); is_address(above.filename().string());
       above = above.parent_path()) {
    facts.bridges.emplace(above.filename().string(), acs_of(config_of(above)));
  }
}

}  // namespace

Acs acs_of(const std::string& config) {
  constexpr size_t kExtended = 0x100;
  constexpr uint32_t kAcsId = 0x000d;
  constexpr uint32_t kRedirects = 0x04 | 0x08;  // P2P request redirect, completion redirect
  if (config.size() <= kExtended) return Acs::unknown;
  // Each capability is at least two words: so many fit, and a loop ends.
  size_t at = kExtended;
  for (size_t left = config.size() / 8; left > 0 && at >= kExtended; --left) {
    if (at + 8 > config.size()) return Acs::unknown;
    const uint32_t header = little_endian(config, at, 4);
    if ((header & 0xffff) == kAcsId)
      return (little_endian(config, at + 6, 2) & kRedirects) != 0 ? Acs::redirects : Acs::off;
    at = header >> 20;
  }
  return Acs::absent;
}

std::optional<PciControl> control_of(const std::string& config) {
  constexpr size_t kFirst = 0x34;
  constexpr uint32_t kExpressId = 0x10;
  if (config.size() < 0x100) return std::nullopt;
  size_t at = little_endian(config, kFirst, 1);
  for (size_t left = 48; left > 0 && at >= 0x40 && at + 10 <= config.size(); --left) {
    if (little_endian(config, at, 1) == kExpressId) {
      const uint32_t control = little_endian(config, at + 8, 2);
      return PciControl{128U << (control >> 12 & 7), (control & 0x10) != 0};
    }
    at = little_endian(config, at + 1, 1);
  }
  return std::nullopt;
}

PciDevice read_pci_device(const fs::path& sysfs) {
  std::error_code error;
  const fs::path device = fs::canonical(sysfs, error);
  PciDevice found;
  if (error || !is_address(device.filename().string())) return found;
  for (const fs::path& part : device) {
    const std::string name = part.string();
    if (is_host_bridge(name) || is_address(name)) found.path.push_back(name);
  }
  // "-1" is no number, and no node.
  if (const auto node = first_number(device / "numa_node"))
    found.numa_node = static_cast<uint32_t>(*node);
  found.link = link_text(device, "current");
  found.link_max = link_text(device, "max");
  found.control = control_of(config_of(device));
  return found;
}

void probe_pci(const fs::path& root, NodeFacts& facts) {
  for (const fs::path& device : entries(root / "sys/bus/pci/devices")) {
    const bool gpu = is_class(device, kNvidia, kDisplayClass);
    const bool nic = is_class(device, kMellanox, kNetworkClass);
    if (!gpu && !nic) continue;
    (gpu ? facts.gpus : facts.mellanox).push_back(read_pci_device(device));
    read_bridges(device, facts);
  }
}

}  // namespace ringer::tools
