// SPDX-License-Identifier: Apache-2.0
// Programs of a few accesses to three words and a cell of plain data.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include <ringer/sim/explore/sim_platform.hpp>

namespace ringer::test {

using sim::Place;
using sim::SimPlatform;

constexpr Order kRelaxed = Order::relaxed;
constexpr uint32_t kMaxActors = 5;
constexpr uint32_t kMaxSteps = 5;

struct Memory {
  uint64_t words[3];
  alignas(16) uint8_t data[16];
  uint64_t seen[kMaxActors][kMaxSteps];
};

using Body = std::function<void(const SimPlatform&, Memory&)>;

/// Actors on GPUs of their own, over one Memory; `outcomes` collects how executions end.
class SmallProgram : public sim::Scenario {
 public:
  explicit SmallProgram(std::vector<Body> bodies) {
    for (const Body& body : bodies) {
      const auto i = static_cast<uint32_t>(program_.actors.size());
      add({i, i}, body);
    }
  }
  SmallProgram() : SmallProgram(std::vector<Body>{}) {}

  void add(Place place, const Body& body) {
    run_on(memory_);
    program_.reset = [this] { memory_ = {}; };
    program_.check = [this] {
      outcomes.insert(std::string(reinterpret_cast<const char*>(&memory_), sizeof(memory_)));
      return std::string();
    };
    program_.actors.push_back({"t" + std::to_string(program_.actors.size()), place,
                               [this, body](const SimPlatform& p) { body(p, memory_); }});
  }

  std::set<std::string> outcomes;

 private:
  Memory memory_{};
};

}  // namespace ringer::test
