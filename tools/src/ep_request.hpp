// SPDX-License-Identifier: Apache-2.0
// The options of `ringer ep`: declared, read and checked against each other.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "ep_runner.hpp"
#include "output_file.hpp"
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

/// The file that the result goes to as well; none for stdout. Throws UsageError, naming the option,
/// if it cannot be written.
std::optional<OutputFile> open_json(const Settings& settings, const EpRequest& request);

/// Throws BackendError if a run of `options` touches more memory than there is.
void require_memory(const EpOptions& options);

}  // namespace ringer::tools
