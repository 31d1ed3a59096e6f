// SPDX-License-Identifier: Apache-2.0
// The options of `ringer ep`: declared, read and checked against each other.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "ep_runner.hpp"
#include "output_file.hpp"
#include "settings.hpp"

namespace ringer::tools {

class Processes;

struct EpRequest {
  EpOptions options;
  std::string routing;  ///< as the user gave it
  uint32_t iterations = 0;
  uint32_t warmup = 0;
  std::string json;  ///< file, "-", or empty
};

void declare_ep_settings(Settings& settings);

/// A request that nothing speaks against.
struct PreparedRequest {
  EpRequest request;
  /// The file that the result goes to as well; none for stdout, and in processes that do not speak.
  std::optional<OutputFile> json;
};

/// Collective. Throws UsageError (the request, or what `refuse` finds in it, makes no sense; the
/// file cannot be written) or BackendError (this build cannot run it; it touches more memory than
/// there is).
PreparedRequest prepare_request(const Settings& settings, Processes& processes,
                                const std::function<void(const EpRequest&)>& refuse);

}  // namespace ringer::tools
