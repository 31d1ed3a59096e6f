// SPDX-License-Identifier: Apache-2.0
// Who the emulated HCAs say they are, in sysfs and to ioctls alike.
#pragma once

#include <cstdint>

namespace ringer::sim::verbs {

/// Names of the environment that `ringer run` hands to the preloaded library.
inline constexpr const char* kRootVariable = "RINGER_VERBS_ROOT";
inline constexpr const char* kDevicesVariable = "RINGER_DEVICES";
inline constexpr const char* kPortsVariable = "RINGER_PORTS";
inline constexpr const char* kLinkVariable = "RINGER_LINK";
inline constexpr const char* kCaptureVariable = "RINGER_CAPTURE";
/// The value of kLinkVariable; any other is InfiniBand.
inline constexpr const char* kEthernetName = "ethernet";

// A ConnectX-6: what libmlx5 and its users look for.
inline constexpr uint32_t kPciVendor = 0x15b3;
inline constexpr uint32_t kPciDevice = 0x101b;
inline constexpr uint32_t kVendorOui = 0x02c9;
inline constexpr uint32_t kFirmware[3] = {20, 31, 1014};
inline constexpr const char* kHcaType = "MT4123";
inline constexpr const char* kBoardId = "RINGER0000000001";

/// The character devices /dev/infiniband/uverbsN.
inline constexpr uint32_t kCharMajor = 231;
inline constexpr uint32_t kFirstCharMinor = 192;

inline constexpr uint16_t kFullMemberPkey = 0xffff;

/// A locally administered EUI-64.
constexpr uint64_t node_guid(uint32_t device) {
  return 0x0252'4eff'fe00'0000 | (uint64_t{device} << 8);
}

}  // namespace ringer::sim::verbs
