// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <utility>

#include <ringer/control_plane.hpp>
#include <ringer/verbs/fabric_settings.hpp>

namespace ringer::verbs {

namespace {

constexpr Word<Registration> kRegistrations[] = {{"auto", Registration::automatic},
                                                 {"dmabuf", Registration::dmabuf},
                                                 {"address", Registration::address}};
constexpr Word<RelaxedOrdering> kOrderings[] = {
    {"0", RelaxedOrdering::off}, {"1", RelaxedOrdering::on}, {"2", RelaxedOrdering::automatic}};

/// One device of a list such as "mlx5_0:1,mlx5_1".
struct Wanted {
  std::string device;
  uint32_t port = 0;  // any
  bool clear = true;  // what follows a colon is a port
};

/// A list of devices and how to read it.
struct NameFilter {
  bool excludes = false;
  bool exact = false;
  std::vector<Wanted> wanted;

  explicit NameFilter(std::string text) {
    if (!text.empty() && text[0] == '^') excludes = true;
    if (excludes) text.erase(0, 1);
    if (!text.empty() && text[0] == '=') exact = true;
    if (exact) text.erase(0, 1);
    std::istringstream list(text);
    for (std::string item; std::getline(list, item, ',');) {
      const size_t colon = item.find(':');
      Wanted one{item.substr(0, colon), 0};
      if (colon != std::string::npos) {
        char* end = nullptr;
        one.port = static_cast<uint32_t>(std::strtoul(item.c_str() + colon + 1, &end, 10));
        one.clear = one.port != 0 && *end == '\0';
      }
      if (!one.device.empty()) wanted.push_back(one);
    }
  }

  void check(const std::string& origin) const {
    for (const Wanted& one : wanted) {
      if (!one.clear) {
        throw BackendError(origin + ": what follows '" + one.device + ":' is no port from 1 up");
      }
    }
  }

  bool allows(const PortFacts& port) const {
    if (wanted.empty()) return true;
    const bool listed = std::any_of(wanted.begin(), wanted.end(), [&](const Wanted& one) {
      const bool name = exact ? port.device == one.device : port.device.rfind(one.device, 0) == 0;
      return name && (one.port == 0 || one.port == port.port);
    });
    return listed != excludes;
  }
};

bool is_empty(const GidFacts& gid) {
  return std::all_of(std::begin(gid.raw), std::end(gid.raw), [](uint8_t b) { return b == 0; });
}

bool is_ipv4(const GidFacts& gid) {
  static constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return std::memcmp(gid.raw, kMapped, sizeof(kMapped)) == 0;
}

bool is_link_local(const GidFacts& gid) {
  return gid.raw[0] == 0xfe && (gid.raw[1] & 0xc0) == 0x80;
}

// RoCE v2 over IPv4 is what fabrics are set up for; link-local addresses do not cross routers.
int rank_of(const GidFacts& gid) {
  if (is_empty(gid)) return -1;
  if (!gid.roce_v2) return 0;
  if (is_ipv4(gid)) return 3;
  return is_link_local(gid) ? 1 : 2;
}

const char* kind_of(const GidFacts& gid) {
  static constexpr const char* kKinds[] = {"RoCE v1", "RoCE v2, link-local", "RoCE v2, IPv6",
                                           "RoCE v2, IPv4"};
  const int rank = rank_of(gid);
  return rank < 0 ? "empty" : kKinds[rank];
}

int choose_gid(const PortFacts& port, const FabricSettings& settings) {
  const auto count = static_cast<int>(port.gids.size());
  if (settings.gid_index.value >= 0) {
    const int index = settings.gid_index.value;
    if (index >= count || is_empty(port.gids[static_cast<size_t>(index)])) {
      throw BackendError(settings.gid_index.origin + "=" + std::to_string(index) + ": " +
                         port.device + " port " + std::to_string(port.port) + " has no GID there");
    }
    return index;
  }
  if (!port.ethernet) return 0;
  const auto best = std::max_element(
      port.gids.begin(), port.gids.end(),
      [](const GidFacts& a, const GidFacts& b) { return rank_of(a) < rank_of(b); });
  if (best == port.gids.end() || is_empty(*best)) {
    throw BackendError(port.device + " port " + std::to_string(port.port) +
                       " has no GID: give its network interface an address");
  }
  return static_cast<int>(best - port.gids.begin());
}

}  // namespace

FabricSettings read_fabric_settings(const Lookup& lookup) {
  FabricSettings s;
  s.devices = read_text(lookup, "HCA");
  NameFilter(s.devices.value).check(s.devices.origin);
  read_number(lookup, "GID_INDEX", -1, 255, s.gid_index);
  read_number(lookup, "TC", 0, 255, s.traffic_class);
  read_number(lookup, "SL", 0, 15, s.service_level);
  read_number(lookup, "PKEY", 0, 65535, s.pkey_index);
  read_number(lookup, "TIMEOUT", 0, 31, s.timeout);
  read_number(lookup, "RETRY_CNT", 0, 7, s.retry_count);
  read_choice(lookup, "REGISTRATION", kRegistrations, s.registration);
  read_choice(lookup, "PCI_RELAXED_ORDERING", kOrderings, s.relaxed_ordering);
  return s;
}

PortPick in_turn(uint32_t rank, const std::vector<PortFacts>& usable) {
  return {rank % usable.size(), {}};
}

PortChoice choose_port(const std::vector<PortFacts>& ports, const FabricSettings& settings,
                       uint32_t rank, const PortOrder& order) {
  const NameFilter filter(settings.devices.value);
  std::vector<PortFacts> usable;
  std::string seen;
  for (const PortFacts& port : ports) {
    const bool allowed = filter.allows(port);
    const char* why = !allowed ? "not wanted" : !port.active ? "not active" : "";
    seen += (seen.empty() ? "" : ", ") + port.device + ":" + std::to_string(port.port) + " " + why;
    if (allowed && port.active) usable.push_back(port);
  }
  if (usable.empty()) {
    throw BackendError(
        "no port can be used" + (seen.empty() ? ": there is no device" : ": " + seen) + " (" +
        (settings.devices.value.empty() ? "all devices"
                                        : settings.devices.origin + "=" + settings.devices.value) +
        ")");
  }
  const PortPick pick = order(rank, usable);
  const PortFacts& port = usable[pick.index];
  PortChoice choice{port.device, port.port, choose_gid(port, settings), {}};
  choice.reason = port.device + ":" + std::to_string(port.port) + " (" +
                  (settings.devices.value.empty() ? "active" : settings.devices.origin) +
                  (pick.why.empty() ? "" : ", " + pick.why) + ")";
  if (port.ethernet) {
    choice.reason += ", gid " + std::to_string(choice.gid_index) + " (" +
                     kind_of(port.gids[static_cast<size_t>(choice.gid_index)]) + ")";
  } else {
    choice.reason += ", lid " + std::to_string(port.lid);
  }
  return choice;
}

PortChoice RankPorts::choose(const std::vector<PortFacts>& ports, const FabricSettings& settings,
                             uint32_t rank) {
  PortChoice choice = choose_port(ports, settings, rank, order_);
  const std::lock_guard lock(mutex_);
  reasons_[rank] = choice.reason;
  return choice;
}

std::string RankPorts::describe() const {
  const std::lock_guard lock(mutex_);
  std::string text;
  for (const auto& [rank, reason] : reasons_) {
    text += "rank " + std::to_string(rank) + " on " + reason + "\n";
  }
  return text;
}

std::string describe(const FabricSettings& s) {
  std::string text;
  const auto line = [&](const char* name, const std::string& value, const std::string& origin) {
    text += describe_setting(name, value, origin);
  };
  line("devices", s.devices.value.empty() ? "all" : s.devices.value, s.devices.origin);
  line("gid index", s.gid_index.value < 0 ? "best" : std::to_string(s.gid_index.value),
       s.gid_index.origin);
  line("traffic class", std::to_string(s.traffic_class.value), s.traffic_class.origin);
  line("service level", std::to_string(s.service_level.value), s.service_level.origin);
  line("pkey index", std::to_string(s.pkey_index.value), s.pkey_index.origin);
  line("timeout", std::to_string(s.timeout.value), s.timeout.origin);
  line("retry count", std::to_string(s.retry_count.value), s.retry_count.origin);
  line("registration", word_of(kRegistrations, s.registration.value), s.registration.origin);
  line("relaxed ordering", word_of(kOrderings, s.relaxed_ordering.value),
       s.relaxed_ordering.origin);
  return text;
}

}  // namespace ringer::verbs
