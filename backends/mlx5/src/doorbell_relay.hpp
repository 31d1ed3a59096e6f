// SPDX-License-Identifier: Apache-2.0
// CPU-assisted doorbells: a host thread passes on what kernels leave in memory, where they do not
// reach a NIC's registers.
#pragma once

#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace ringer::mlx5 {

class DoorbellRelay {
 public:
  DoorbellRelay() = default;
  ~DoorbellRelay() = default;
  DoorbellRelay(const DoorbellRelay&) = delete;
  DoorbellRelay& operator=(const DoorbellRelay&) = delete;

  /// What is stored at `word` from now on is stored to `doorbell`. The first one starts the thread.
  void add(uint64_t* word, uint64_t* doorbell);
  /// Nothing is passed on from `word` any more; null is nobody's.
  void forget(uint64_t* word);

 private:
  struct Pair {
    uint64_t* word;
    uint64_t* doorbell;
  };
  bool pass_on();

  std::mutex mutex_;
  std::vector<Pair> pairs_;
  std::jthread thread_;  // last: it uses what is above
};

}  // namespace ringer::mlx5
