// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <exception>

namespace ringer::sim::verbs {

/// Ends a control call; the caller sees `code` as errno.
class VerbsError : public std::exception {
 public:
  explicit VerbsError(int code) : code_(code) {}
  int code() const { return code_; }
  const char* what() const noexcept override { return "verbs call refused"; }

 private:
  int code_;
};

[[noreturn]] inline void refuse(int code) { throw VerbsError(code); }

inline void require(bool condition, int code) {
  if (!condition) refuse(code);
}

}  // namespace ringer::sim::verbs
