// SPDX-License-Identifier: Apache-2.0
// Ends of a connection through the mlx5 backend.
#pragma once

#include <memory>
#include <thread>
#include <vector>

#include <ringer/mlx5/mlx5_backend.hpp>

#include "support/catch.hpp"

namespace ringer::test {

struct End {
  End(Nic& nic, const QueuePairConfig& config)
      : words(64),
        region(nic.register_memory(words.data(), words.size() * 8, access::all)),
        qp(nic.create_queue_pair(config)) {}
  RemoteRef remote(size_t word) const {
    return {reinterpret_cast<uint64_t>(&words[word]), region->rkey()};
  }
  LocalRef local(size_t word) const {
    return {reinterpret_cast<uint64_t>(&words[word]), region->lkey()};
  }
  std::vector<uint64_t> words;
  std::unique_ptr<MemoryRegion> region;
  std::unique_ptr<QueuePair> qp;
};

inline Status drained(QueuePair& qp) {
  Status status;
  for (uint64_t i = 0; i < 100'000'000; ++i) {
    if (qp.outstanding(status) == 0 || !status.ok()) return status;
    std::this_thread::yield();
  }
  return make_status(StatusCode::deadline);
}

inline mlx5::Mlx5Settings settings(mlx5::QueueMaking queues,
                                   mlx5::DoorbellWay doorbells = mlx5::DoorbellWay::automatic) {
  mlx5::Mlx5Settings s;
  s.queues.value = queues;
  s.doorbells.value = doorbells;
  s.timeout.value = 8;
  s.retry_count.value = 1;
  return s;
}

}  // namespace ringer::test
