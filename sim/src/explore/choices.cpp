// SPDX-License-Identifier: Apache-2.0
#include <charconv>
#include <stdexcept>
#include <utility>

#include <ringer/sim/explore/choices.hpp>

namespace ringer::sim {

std::string Choices::schedule() const {
  std::string text;
  for (const uint32_t choice : taken_) text += (text.empty() ? "" : ".") + std::to_string(choice);
  return text;
}

bool EnumeratedChoices::next_execution() {
  taken_.clear();
  depth_ = 0;
  if (!started_) return started_ = true;
  while (!path_.empty() && path_.back().choice + 1 == path_.back().options) path_.pop_back();
  if (path_.empty()) return false;
  ++path_.back().choice;
  return true;
}

uint32_t EnumeratedChoices::decide(uint32_t options) {
  if (depth_ == path_.size()) path_.push_back({0, options});
  const Decision& decision = path_[depth_++];
  if (decision.options != options) {
    throw std::logic_error("an execution is not determined by its choices: " + schedule());
  }
  return decision.choice;
}

bool RandomChoices::next_execution() {
  taken_.clear();
  if (left_ == 0) return false;
  --left_;
  random_.seed(seed_ + ++execution_);
  return true;
}

uint32_t RandomChoices::decide(uint32_t options) {
  return static_cast<uint32_t>(((random_() >> 32) * options) >> 32);
}

ReplayedChoices::ReplayedChoices(const std::string& schedule) {
  const char* at = schedule.data();
  const char* end = at + schedule.size();
  while (at != end) {
    uint32_t answer = 0;
    const auto [rest, error] = std::from_chars(at, end, answer);
    const bool more = rest != end;
    if (error != std::errc{} || (more && (*rest != '.' || rest + 1 == end))) {
      throw std::invalid_argument("'" + schedule + "' is no schedule");
    }
    answers_.push_back(answer);
    at = more ? rest + 1 : rest;
  }
}

bool ReplayedChoices::next_execution() {
  taken_.clear();
  depth_ = 0;
  return !std::exchange(started_, true);
}

uint32_t ReplayedChoices::decide(uint32_t options) {
  if (depth_ == answers_.size() || answers_[depth_] >= options) {
    throw std::invalid_argument("the schedule is of another run: decision " +
                                std::to_string(depth_ + 1) + " has " + std::to_string(options) +
                                " ways");
  }
  return answers_[depth_++];
}

}  // namespace ringer::sim
