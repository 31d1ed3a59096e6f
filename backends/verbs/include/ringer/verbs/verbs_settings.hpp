// SPDX-License-Identifier: Apache-2.0
// What may be set about queue pairs that the host serves, besides what holds for any NIC.
#pragma once

#include <string>

#include <ringer/verbs/fabric_settings.hpp>

namespace ringer::verbs {

/// How requests are handed to libibverbs.
enum class Posting {
  automatic,  ///< by ibv_wr_*, where the provider has them
  wr,         ///< by ibv_wr_*, or not at all
  list,       ///< by ibv_post_send()
};

/// Where inline data of a WQE goes.
enum class InlineData {
  automatic,  ///< with the request, where the NIC takes as much
  slots,      ///< to registered memory beside the ring
};

/// Who takes completions.
enum class Completions {
  poll,   ///< the threads that post, and for kernels the one that serves their rings
  event,  ///< a thread that sleeps until the NIC tells of one
};

/// Who brings two queue pairs together.
enum class Connecting {
  exchange,  ///< both ends, by the addresses that the ranks exchange
  cm,        ///< librdmacm: routes and packet sizes are the kernel's choice
};

/// Variables RINGER_IB_X.
struct VerbsSettings : FabricSettings {
  Sourced<Posting> posting;          ///< POSTING: auto, wr, list
  Sourced<InlineData> inline_data;   ///< INLINE: auto, slots
  Sourced<Completions> completions;  ///< COMPLETIONS: poll, event
  Sourced<Connecting> connecting;    ///< CONNECT: exchange, cm
};

/// Errors: BackendError for a value that is out of its range.
VerbsSettings read_verbs_settings(const Lookup& lookup);

/// One line a value, those of any backend first.
std::string describe(const VerbsSettings& settings);

}  // namespace ringer::verbs
