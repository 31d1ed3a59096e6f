// SPDX-License-Identifier: Apache-2.0
// The options of `ringer ep`: declared, read and checked against each other.
#pragma once

#include <cstdint>
#include <string>

#include "ep_runner.hpp"
#include "settings.hpp"

namespace ringer::tools {

struct EpRequest {
  EpOptions options;
  std::string routing;  ///< as the user gave it
  uint32_t iterations = 0;
  uint32_t warmup = 0;
  std::string json;  ///< file, "-", or empty
};

void declare_ep_settings(Settings& settings);

/// Throws UsageError (the request makes no sense) or BackendError (this build cannot run it).
EpRequest read_ep_request(const Settings& settings);

/// Bytes of memory that a run of `options` touches, roughly.
double estimated_bytes(const EpOptions& options);

}  // namespace ringer::tools
