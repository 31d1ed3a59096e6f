// SPDX-License-Identifier: Apache-2.0
// The files under /sys and /dev by which programs find the emulated HCAs.
#pragma once

#include <cstdint>
#include <filesystem>

#include <ringer/sim/link_address.hpp>

namespace ringer::sim::verbs {

/// Writes sys/class/infiniband, sys/class/infiniband_verbs and dev/infiniband under `root`.
/// Errors: std::filesystem::filesystem_error or std::ios_base::failure.
void write_device_tree(const std::filesystem::path& root, uint32_t devices, uint32_t ports,
                       LinkLayer link);

}  // namespace ringer::sim::verbs
