// SPDX-License-Identifier: Apache-2.0
// Which device, port, GID and service a group of ranks uses, and where each value comes from: the
// variables of Ringer, those that NCCL users have set already, or a default.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <ringer/verbs/setting_reader.hpp>

namespace ringer::verbs {

/// How memory that the host does not reach is registered.
enum class Registration {
  automatic,  ///< as a dma-buf; where that fails, by its address
  dmabuf,
  address,  ///< which the kernel understands with nvidia-peermem
};

/// Whether PCIe may reorder writes to memory that was registered for that: `on` and `automatic`
/// alike where the kernel knows how, for registration cannot insist.
enum class RelaxedOrdering { off, on, automatic };

/// Variables RINGER_IB_X; where that is not set, NCCL_IB_X.
struct FabricSettings {
  /// HCA: names by prefix, comma separated, each with :port if wanted; "^" excludes, "=" is exact.
  Sourced<std::string> devices;
  Sourced<int> gid_index{-1, "default"};  ///< GID_INDEX; -1: the best RoCE v2 GID
  Sourced<int> traffic_class{0, "default"};
  Sourced<int> service_level{0, "default"};  ///< SL
  Sourced<int> pkey_index{0, "default"};     ///< PKEY
  Sourced<int> timeout{18, "default"};       ///< 4.096 us * 2^TIMEOUT
  Sourced<int> retry_count{7, "default"};    ///< RETRY_CNT
  Sourced<Registration> registration;        ///< REGISTRATION: auto, dmabuf, address
  /// PCI_RELAXED_ORDERING: 0, 1, 2 (auto: where the kernel knows it)
  Sourced<RelaxedOrdering> relaxed_ordering{RelaxedOrdering::automatic, "default"};
};

/// `lookup` is getenv, or a test's. Errors: BackendError for a value that is out of its range.
FabricSettings read_fabric_settings(const Lookup& lookup);

struct GidFacts {
  uint8_t raw[16] = {};
  bool roce_v2 = false;
};

/// A port as the device describes it.
struct PortFacts {
  std::string device;
  uint32_t port = 1;
  bool active = false;
  bool ethernet = false;
  uint16_t lid = 0;
  std::vector<GidFacts> gids;  ///< all zero: empty
};

/// What a rank uses.
struct PortChoice {
  std::string device;
  uint32_t port = 1;
  int gid_index = 0;
  std::string reason;  ///< "mlx5_0:1 (RINGER_IB_HCA, same PCIe switch), gid 3 (RoCE v2, IPv4)"
};

/// One of the ports that could be used.
struct PortPick {
  size_t index = 0;
  std::string why;  ///< for people; may be empty
};
/// Picks a rank's port among those that are active and that the settings allow: at least one.
using PortOrder = std::function<PortPick(uint32_t rank, const std::vector<PortFacts>& usable)>;
/// Ranks take ports in turn.
PortPick in_turn(uint32_t rank, const std::vector<PortFacts>& usable);

/// The port of a rank. Errors: BackendError that names what was there and why none was taken.
PortChoice choose_port(const std::vector<PortFacts>& ports, const FabricSettings& settings,
                       uint32_t rank, const PortOrder& order = in_turn);

/// Which port each rank has been given, and why. Any thread.
class RankPorts {
 public:
  explicit RankPorts(PortOrder order) : order_(std::move(order)) {}
  /// As choose_port(), kept for describe().
  PortChoice choose(const std::vector<PortFacts>& ports, const FabricSettings& settings,
                    uint32_t rank);
  /// A line a rank.
  std::string describe() const;

 private:
  PortOrder order_;
  mutable std::mutex mutex_;
  std::map<uint32_t, std::string> reasons_;
};

/// One line a value: "timeout 18 (default)".
std::string describe(const FabricSettings& settings);

}  // namespace ringer::verbs
