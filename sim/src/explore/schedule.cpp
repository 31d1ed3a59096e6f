// SPDX-License-Identifier: Apache-2.0
#include "schedule.hpp"

#include <charconv>
#include <stdexcept>

namespace ringer::sim {

std::string text_of(const Schedule& schedule) {
  std::string text;
  for (size_t i = 0; i < schedule.size(); ++i) {
    if (schedule[i] == 0) continue;
    text += (text.empty() ? "" : ",") + std::to_string(i) + ":" + std::to_string(schedule[i]);
  }
  return text.empty() ? "-" : text;
}

Schedule parse_schedule(const std::string& text) {
  constexpr uint32_t kMaxDecisions = 1'000'000;
  const auto refuse = [&] {
    throw std::invalid_argument("'" + text +
                                "' is no schedule, which is '-' or decision:move,... in order");
  };
  Schedule schedule;
  if (text == "-") return schedule;
  const char* at = text.data();
  const char* const end = at + text.size();
  const auto number = [&](uint32_t& value) {
    const auto [next, error] = std::from_chars(at, end, value);
    if (error != std::errc{}) refuse();
    at = next;
  };
  for (;;) {
    uint32_t decision = 0;
    uint32_t choice = 0;
    number(decision);
    if (at == end || *at++ != ':') refuse();
    number(choice);
    if (decision < schedule.size() || decision > kMaxDecisions || choice == 0) refuse();
    schedule.resize(decision + 1);
    schedule[decision] = choice;
    if (at == end) return schedule;
    if (*at++ != ',') refuse();
  }
}

std::string run_schedule(Execution& execution, const Schedule& schedule) {
  size_t decision = 0;
  run_once(execution, [&](const std::vector<Move>& moves) {
    const uint32_t choice = decision < schedule.size() ? schedule[decision] : 0;
    ++decision;
    if (choice == 0) return choice;
    const std::string where = "decision " + std::to_string(decision - 1);
    if (choice >= moves.size()) {
      throw std::invalid_argument(where + " has " + std::to_string(moves.size()) +
                                  " moves here, none of which is number " + std::to_string(choice) +
                                  ": it is another program's schedule");
    }
    execution.remark(where + ", move " + std::to_string(choice) + ":");
    return choice;
  });
  if (decision < schedule.size()) {
    throw std::invalid_argument("the program ends before its schedule does");
  }
  return execution.verdict();
}

ExploreResult replay(const Program& program, const std::string& schedule,
                     std::vector<std::string>* trace) {
  const Schedule decisions = parse_schedule(schedule);
  Execution execution(program);
  execution.trace_to(trace);
  run_schedule(execution, decisions);
  ExploreResult result;
  account(result, execution, decisions);
  result.complete = result.failure.empty();
  return result;
}

namespace {

// What fails, without the details that follow it.
std::string kind_of(const std::string& failure) { return failure.substr(0, failure.find(':')); }

// The kind of failure that the schedule leads to; none for one that no longer fits.
std::string failure_of(Execution& execution, const Schedule& schedule) {
  try {
    return kind_of(run_schedule(execution, schedule));
  } catch (const std::invalid_argument&) {
    return {};
  }
}

// Of executions drawn at random, the one that fails as `wanted` after the fewest steps, if it takes
// fewer than `schedule`, which `execution` is at the end of.
Schedule draw_shorter(Execution& execution, Schedule schedule, const std::string& wanted) {
  constexpr uint64_t kDrawn = 2000;
  uint64_t fewest = execution.steps();
  for (uint64_t seed = 0; seed < kDrawn; ++seed) {
    Schedule drawn = draw_once(execution, seed);
    if (execution.steps() >= fewest || kind_of(execution.verdict()) != wanted) continue;
    fewest = execution.steps();
    schedule = std::move(drawn);
  }
  return schedule;
}

}  // namespace

// Then leaves out one surprise after the other, and makes what is left smaller, until nothing can
// go.
std::string shorten(const Program& program, const std::string& text) {
  Execution execution(program);
  Schedule schedule = parse_schedule(text);
  const std::string wanted = failure_of(execution, schedule);
  schedule = draw_shorter(execution, std::move(schedule), wanted);
  for (bool shorter = true; shorter;) {
    shorter = false;
    for (size_t i = schedule.size(); i-- > 0;) {
      for (uint32_t choice = 0; choice < schedule[i]; ++choice) {
        Schedule tried = schedule;
        tried[i] = choice;
        while (!tried.empty() && tried.back() == 0) tried.pop_back();
        if (failure_of(execution, tried) != wanted) continue;
        schedule = std::move(tried);
        shorter = true;
        break;
      }
      if (i > schedule.size()) i = schedule.size();
    }
  }
  return text_of(schedule);
}

}  // namespace ringer::sim
