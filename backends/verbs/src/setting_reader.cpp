// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>

#include <ringer/verbs/setting_reader.hpp>

namespace ringer::verbs {

Sourced<std::string> read_text(const Lookup& lookup, const std::string& name) {
  for (const char* family : {"RINGER_IB_", "NCCL_IB_"}) {
    const std::string variable = family + name;
    if (const char* text = lookup(variable.c_str()); text != nullptr) return {text, variable};
  }
  return {};
}

void read_number(const Lookup& lookup, const char* name, int min, int max, Sourced<int>& number) {
  const Sourced<std::string> text = read_text(lookup, name);
  if (text.origin == "default") return;
  char* end = nullptr;
  const long value = std::strtol(text.value.c_str(), &end, 0);
  if (text.value.empty() || *end != '\0' || value < min || value > max) {
    throw BackendError(text.origin + "='" + text.value + "' is not a number from " +
                       std::to_string(min) + " to " + std::to_string(max));
  }
  number = {static_cast<int>(value), text.origin};
}

std::string describe_setting(const char* name, const std::string& value,
                             const std::string& origin) {
  return std::string(name) + " " + value + " (" + origin + ")\n";
}

}  // namespace ringer::verbs
