// SPDX-License-Identifier: Apache-2.0
// Runs posters as fibers that may change over before every shared access, and the world between
// them, in an order drawn from a seed: the same seed, the same interleaving.
#pragma once

#include <functional>
#include <memory>
#include <random>
#include <stdexcept>
#include <vector>

#include <ringer/sim/fiber.hpp>

#include "support/probe_platform.hpp"

namespace ringer::test {

class Interleaver {
 public:
  /// Takes over the hooks of `probe`. `world` is one step of everything that is not a poster.
  Interleaver(uint64_t seed, Probe& probe, std::function<void()> world)
      : random_(seed), probe_(probe), world_(std::move(world)) {
    probe_.on_access = [this] {
      if (current_ != nullptr && (random_() & 3) == 0) current_->suspend();
    };
    probe_.on_idle = [this] {
      if (current_ == nullptr) return world_();
      current_->suspend();
    };
  }
  ~Interleaver() { probe_.on_access = nullptr; }
  Interleaver(const Interleaver&) = delete;
  Interleaver& operator=(const Interleaver&) = delete;

  void add(std::function<void()> poster) {
    fibers_.push_back(std::make_unique<sim::Fiber>(64 * 1024));
    fibers_.back()->start(std::move(poster));
  }

  /// Runs until all posters have ended.
  void run() {
    std::vector<sim::Fiber*> live;
    for (const auto& fiber : fibers_) live.push_back(fiber.get());
    for (uint64_t turns = 0; !live.empty(); ++turns) {
      if (turns == kMaxTurns) throw std::logic_error("posters never end: " + probe_.last_site);
      const size_t choice = random_() % (live.size() + 1);
      if (choice == live.size()) {
        world_();
        continue;
      }
      current_ = live[choice];
      current_->resume();
      current_ = nullptr;
      if (live[choice]->finished()) live.erase(live.begin() + static_cast<std::ptrdiff_t>(choice));
    }
  }

 private:
  static constexpr uint64_t kMaxTurns = 10'000'000;

  std::mt19937_64 random_;
  Probe& probe_;
  std::function<void()> world_;
  std::vector<std::unique_ptr<sim::Fiber>> fibers_;
  sim::Fiber* current_ = nullptr;
};

}  // namespace ringer::test
