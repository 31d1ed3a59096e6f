// SPDX-License-Identifier: Apache-2.0
#include "device_path.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <ringer/sim/verbs_identity.hpp>

namespace ringer::sim::verbs {

namespace {

bool begins_with(const char* text, const char* start) {
  return std::strncmp(text, start, std::strlen(start)) == 0;
}

bool is_device_path(const char* path) {
  return path != nullptr && path[0] == '/' &&
         (begins_with(path, "/sys/class/infiniband") || begins_with(path, "/dev/infiniband"));
}

}  // namespace

DevicePath::DevicePath(const char* path) : path_(path) {
  if (!is_device_path(path)) return;
  const char* root = std::getenv(kRootVariable);
  if (root == nullptr || *root == '\0') return;
  const int length = std::snprintf(text_, sizeof text_, "%s%s", root, path);
  if (length < 0 || static_cast<size_t>(length) >= sizeof text_) return;
  path_ = text_;
  led_ = true;
}

std::optional<uint32_t> DevicePath::node() const {
  if (!led_) return std::nullopt;
  const char* name = std::strstr(text_, "/dev/infiniband/uverbs");
  if (name == nullptr) return std::nullopt;
  const char* digits = name + std::strlen("/dev/infiniband/uverbs");
  char* end = nullptr;
  const unsigned long number = std::strtoul(digits, &end, 10);
  if (end == digits || *end != '\0' || number > UINT32_MAX) return std::nullopt;
  return static_cast<uint32_t>(number);
}

}  // namespace ringer::sim::verbs
