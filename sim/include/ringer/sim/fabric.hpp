// SPDX-License-Identifier: Apache-2.0
// The NICs of one process and the lossless links between them.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include <ringer/sim/nic.hpp>

namespace ringer::sim {

/// Keeps the engine and the control plane apart. Control waits announce themselves so that a busy
/// engine lets them in after its current turn.
class Gate {
 public:
  class Control {
   public:
    explicit Control(Gate& gate) : gate_(gate) {
      gate_.waiting_.fetch_add(1, std::memory_order_relaxed);
      gate_.mutex_.lock();
    }
    ~Control() {
      gate_.mutex_.unlock();
      gate_.waiting_.fetch_sub(1, std::memory_order_relaxed);
    }
    Control(const Control&) = delete;
    Control& operator=(const Control&) = delete;

   private:
    Gate& gate_;
  };

  /// Runs one engine turn unless control calls are waiting.
  template <class Turn>
  bool engine_turn(Turn&& turn) {
    while (waiting_.load(std::memory_order_relaxed) != 0) std::this_thread::yield();
    const std::lock_guard lock(mutex_);
    return turn();
  }

  /// Runs one engine turn if nobody is inside or waits to be.
  template <class Turn>
  void try_engine_turn(Turn&& turn) {
    if (waiting_.load(std::memory_order_relaxed) != 0) return;
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (lock.owns_lock()) turn();
  }

 private:
  std::mutex mutex_;
  std::atomic<uint32_t> waiting_{0};
};

/// Owns the NICs. NICs outlive every object made on them.
class Fabric {
 public:
  explicit Fabric(const NicConfig& config = {}) : config_(config) {}
  ~Fabric();
  Fabric(const Fabric&) = delete;
  Fabric& operator=(const Fabric&) = delete;

  /// NIC number `id`, created on first use. Errors: BackendError for an absurd number.
  Nic& nic(uint32_t id);

  /// One turn of every NIC's engine. True if anything was done.
  bool step(uint32_t wqe_budget_per_nic = 256);
  /// The same for whoever is inside the gate, and a NIC that has been created, there.
  bool step_ungated(uint32_t wqe_budget_per_nic);
  Nic& nic_at(uint32_t id) { return *nics_[id]; }

  /// Steps until nothing is left to do.
  void run_until_idle() {
    while (step()) {
    }
  }

  Gate& gate() { return gate_; }
  uint64_t violation_count() const;
  std::vector<Violation> violations() const;

 private:
  static constexpr uint32_t kMaxNics = 4096;

  NicConfig config_;
  Gate gate_;
  mutable std::mutex nics_mutex_;
  std::vector<std::unique_ptr<Nic>> nics_;
};

/// Runs a fabric's engine on a thread of its own until destroyed. Idle turns first yield, then nap:
/// an idle fabric costs next to no processor time.
class NicThread {
 public:
  explicit NicThread(Fabric& fabric);

 private:
  std::jthread thread_;
};

}  // namespace ringer::sim
