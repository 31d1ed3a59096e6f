// SPDX-License-Identifier: Apache-2.0
// Values that the environment may set: RINGER_IB_X; where that is not set, NCCL_IB_X.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <string>

#include <ringer/control_plane.hpp>

namespace ringer::verbs {

/// A value, and the variable or rule that it comes from.
template <class T>
struct Sourced {
  T value{};
  std::string origin = "default";
};

/// getenv, or a test's.
using Lookup = std::function<const char*(const char*)>;

/// Variable `name` of the first family that has it; else an empty text of origin "default".
Sourced<std::string> read_text(const Lookup& lookup, const std::string& name);

/// Leaves `number` as it is where nothing is set. Errors: BackendError out of [min, max].
void read_number(const Lookup& lookup, const char* name, int min, int max, Sourced<int>& number);

/// A word that stands for a value.
template <class T>
struct Word {
  const char* word;
  T value;
};

template <class T, size_t kWords>
const char* word_of(const Word<T> (&words)[kWords], T value) {
  return std::find_if(words, words + kWords, [&](const auto& w) { return w.value == value; })->word;
}

/// As read_number(). Errors: BackendError for a word that is none of `choices`.
template <class T, size_t kWords>
void read_choice(const Lookup& lookup, const char* name, const Word<T> (&choices)[kWords],
                 Sourced<T>& choice) {
  const Sourced<std::string> text = read_text(lookup, name);
  if (text.origin == "default") return;
  std::string known;
  for (const auto& [word, value] : choices) {
    if (text.value == word) {
      choice = {value, text.origin};
      return;
    }
    known += (known.empty() ? "" : ", ") + std::string(word);
  }
  throw BackendError(text.origin + "='" + text.value + "' is none of " + known);
}

/// "timeout 18 (default)", and a line's end.
std::string describe_setting(const char* name, const std::string& value, const std::string& origin);

}  // namespace ringer::verbs
