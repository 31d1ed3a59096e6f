// SPDX-License-Identifier: Apache-2.0
#include "request.hpp"

namespace ringer::sim::verbs {

namespace {

void* pointer(uint64_t address) { return reinterpret_cast<void*>(address); }

}  // namespace

void OutBuffer::put_bytes(const void* value, size_t bytes) const {
  const size_t copied = std::min(bytes, bytes_);
  if (copied != 0) std::memcpy(data_, value, copied);
  if (copied < bytes_) std::memset(data() + copied, 0, bytes_ - copied);
}

ib_uverbs_attr* Request::find(uint32_t id) const {
  for (ib_uverbs_attr& attribute : attributes()) {
    if (attribute.attr_id == id) return &attribute;
  }
  return nullptr;
}

ib_uverbs_attr& Request::demand(uint32_t id) const {
  ib_uverbs_attr* attribute = find(id);
  require(attribute != nullptr, EINVAL);
  return *attribute;
}

InBuffer Request::in_buffer(uint32_t id) const {
  const ib_uverbs_attr* attribute = find(id);
  if (attribute == nullptr) return {};
  // What fits into the attribute lies in the attribute.
  if (attribute->len <= sizeof attribute->data) return {&attribute->data, attribute->len};
  require(attribute->data != 0, EFAULT);
  return {pointer(attribute->data), attribute->len};
}

OutBuffer Request::out_buffer(uint32_t id) const {
  ib_uverbs_attr* attribute = find(id);
  if (attribute == nullptr || attribute->len == 0) return {};
  require(attribute->data != 0, EFAULT);
  attribute->flags = static_cast<uint16_t>(attribute->flags | UVERBS_ATTR_F_VALID_OUTPUT);
  return {pointer(attribute->data), attribute->len};
}

uint32_t Request::handle(uint32_t id) const {
  const uint64_t value = demand(id).data;
  require(value <= UINT32_MAX, EINVAL);
  return static_cast<uint32_t>(value);
}

void Request::set_handle(uint32_t id, uint32_t handle) const { demand(id).data = handle; }

int Request::fd(uint32_t id) const { return static_cast<int>(demand(id).data_s64); }

void Request::set_fd(uint32_t id, int fd) const { demand(id).data_s64 = fd; }

}  // namespace ringer::sim::verbs
