// SPDX-License-Identifier: Apache-2.0
// What the processes of one run do together: fail, and add up what each has found. A null exchange
// means that this process is alone.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <ringer/control_plane.hpp>

namespace ringer::tools {

/// An exception that all processes of a run throw at the same point.
class SharedMark {
 public:
  virtual ~SharedMark() = default;
};

/// Runs `step`. If it throws in one process, all throw SharedMark with the same class of exception
/// (UsageError, BackendError, EpFailure or another), the reason of the first, and which process it
/// was, unless all have the same reason. A step may contain others.
void together(Exchange* processes, const std::function<void()>& step);

/// Returns when all processes have come here. Throws with them if one of them has failed instead.
inline void start_together(Exchange* processes) {
  together(processes, [] {});
}

/// Throws UsageError in all processes unless all have the same `text`; `what` it is, for people.
void require_same(Exchange* processes, const std::string& text, const std::string& what);

/// The values of all processes, one after the other.
template <class T>
std::vector<T> all_values(Exchange* processes, std::span<const T> mine) {
  std::vector<T> all(mine.begin(), mine.end());
  if (processes == nullptr) return all;
  all.clear();
  for (const auto& part : processes->all_gather(std::as_bytes(mine))) {
    if (part.size() % sizeof(T) != 0) throw BackendError("a process brought something else");
    const size_t before = all.size();
    all.resize(before + part.size() / sizeof(T));
    if (!part.empty()) std::memcpy(all.data() + before, part.data(), part.size());
  }
  return all;
}

/// The text of each process.
std::vector<std::string> all_texts(Exchange* processes, const std::string& mine);

/// Raises each value to the largest that any process has in its place.
void raise_to_slowest(Exchange* processes, std::vector<double>& us);

}  // namespace ringer::tools
