// SPDX-License-Identifier: Apache-2.0
// Where every nondeterministic decision of an exploration comes from. The same answers make the
// same run, so a list of answers is a schedule that can be pasted and replayed.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace ringer::sim {

class Choices {
 public:
  virtual ~Choices() = default;
  /// One of `options` (at least 1) ways to go on. 0 is the least surprising one: the newest store,
  /// the actor that moved last.
  uint32_t choose(uint32_t options) {
    if (options == 1) return 0;  // no decision, no trace
    const uint32_t choice = decide(options);
    taken_.push_back(choice);
    return choice;
  }
  /// Begins another execution. False if there is none left.
  virtual bool next_execution() = 0;

  /// The answers of this execution so far, as text for `ReplayedChoices`.
  std::string schedule() const;

 protected:
  virtual uint32_t decide(uint32_t options) = 0;
  std::vector<uint32_t> taken_;
};

/// All answers, depth first: the last decision that has another answer takes it.
class EnumeratedChoices : public Choices {
 public:
  bool next_execution() override;

 private:
  struct Decision {
    uint32_t choice;
    uint32_t options;
  };
  uint32_t decide(uint32_t options) override;

  std::vector<Decision> path_;
  size_t depth_ = 0;
  bool started_ = false;
};

/// Answers drawn uniformly, the same for the same seed on every platform.
class RandomChoices : public Choices {
 public:
  RandomChoices(uint64_t seed, uint64_t executions) : seed_(seed), left_(executions) {}
  bool next_execution() override;

 private:
  uint32_t decide(uint32_t options) override;

  uint64_t seed_;
  uint64_t left_;
  uint64_t execution_ = 0;
  std::mt19937_64 random_;
};

/// The answers of an earlier execution, once. Throws std::invalid_argument for text that is no
/// schedule, or if the run asks for other decisions than that one did.
class ReplayedChoices : public Choices {
 public:
  explicit ReplayedChoices(const std::string& schedule);
  bool next_execution() override;

 private:
  uint32_t decide(uint32_t options) override;

  std::vector<uint32_t> answers_;
  size_t depth_ = 0;
  bool started_ = false;
};

}  // namespace ringer::sim
