// SPDX-License-Identifier: Apache-2.0
// What may be set about queue pairs on a ConnectX, besides what holds for any NIC.
#pragma once

#include <string>

#include <ringer/verbs/fabric_settings.hpp>

namespace ringer::mlx5 {

/// How queue pairs are made.
enum class QueueMaking {
  automatic,  ///< by firmware commands where a collapsed completion queue is wanted and they work
  verbs,      ///< by the provider
  devx,       ///< by firmware commands, or not at all
};

/// Who stores to the doorbell register.
enum class DoorbellWay {
  automatic,  ///< kernels, where the register can be mapped for them
  gpu,        ///< kernels, or not at all
  cpu,        ///< a host thread, on their behalf
};

/// Where queues made by firmware commands lie.
enum class QueueMemory {
  host,  ///< kernels, NIC and host reach it alike
  near,  ///< with the kernels: on a GPU, in its memory
};

/// Variables RINGER_IB_X.
struct Mlx5Settings : verbs::FabricSettings {
  verbs::Sourced<QueueMaking> queues;        ///< QUEUES: auto, verbs, devx
  verbs::Sourced<DoorbellWay> doorbells;     ///< DOORBELLS: auto, gpu, cpu
  verbs::Sourced<QueueMemory> queue_memory;  ///< QUEUE_MEMORY: host, gpu
};

/// Errors: BackendError for a value that is out of its range.
Mlx5Settings read_mlx5_settings(const verbs::Lookup& lookup);

/// One line a value, those of any NIC first.
std::string describe(const Mlx5Settings& settings);

}  // namespace ringer::mlx5
