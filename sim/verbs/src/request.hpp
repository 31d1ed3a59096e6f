// SPDX-License-Identifier: Apache-2.0
// The wire format of RDMA_VERBS_IOCTL: a header and attributes, each with a value, an object handle
// or a buffer of the caller.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include <rdma/ib_user_ioctl_cmds.h>
#include <rdma/rdma_user_ioctl_cmds.h>

#include "verbs_error.hpp"

namespace ringer::sim::verbs {

/// Bytes that the caller has given. Structures grow with the ABI: what an older caller leaves out
/// reads as zero, what a newer one adds is not looked at.
class InBuffer {
 public:
  InBuffer() = default;
  InBuffer(const void* data, size_t bytes) : data_(data), bytes_(bytes) {}
  size_t size() const { return bytes_; }
  const uint8_t* data() const { return static_cast<const uint8_t*>(data_); }
  template <class T>
  T as() const {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    std::memset(static_cast<void*>(&value), 0, sizeof value);
    if (bytes_ != 0) std::memcpy(static_cast<void*>(&value), data_, std::min(bytes_, sizeof value));
    return value;
  }

 private:
  const void* data_ = nullptr;
  size_t bytes_ = 0;
};

/// Room that the caller has given for an answer.
class OutBuffer {
 public:
  OutBuffer() = default;
  OutBuffer(void* data, size_t bytes) : data_(data), bytes_(bytes) {}
  size_t size() const { return bytes_; }
  uint8_t* data() const { return static_cast<uint8_t*>(data_); }
  /// As much of `value` as there is room for; zeros behind it.
  template <class T>
  void put(const T& value) const {
    static_assert(std::is_trivially_copyable_v<T>);
    put_bytes(&value, sizeof value);
  }
  void put_bytes(const void* value, size_t bytes) const;

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

/// One control call. Missing attributes that are asked for by `in` end it with EINVAL; answers that
/// the caller did not ask for are dropped.
class Request {
 public:
  explicit Request(ib_uverbs_ioctl_hdr& header) : header_(header) {}

  uint16_t object() const { return header_.object_id; }
  uint16_t method() const { return header_.method_id; }
  std::span<ib_uverbs_attr> attributes() const { return {header_.attrs, header_.num_attrs}; }

  bool has(uint32_t id) const { return find(id) != nullptr; }
  InBuffer in_buffer(uint32_t id) const;
  OutBuffer out_buffer(uint32_t id) const;
  InBuffer driver_in() const { return in_buffer(UVERBS_ATTR_UHW_IN); }
  OutBuffer driver_out() const { return out_buffer(UVERBS_ATTR_UHW_OUT); }

  /// A structure, or a number of whatever width the caller took.
  template <class T>
  T in(uint32_t id) const {
    const ib_uverbs_attr& attribute = demand(id);
    if (sizeof(T) <= sizeof attribute.data && attribute.len <= sizeof attribute.data) {
      return InBuffer(&attribute.data, sizeof attribute.data).as<T>();
    }
    return in_buffer(id).as<T>();
  }
  template <class T>
  T in_or(uint32_t id, const T& fallback) const {
    return has(id) ? in<T>(id) : fallback;
  }
  template <class T>
  void out(uint32_t id, const T& value) const {
    out_buffer(id).put(value);
  }
  /// An object's handle.
  uint32_t handle(uint32_t id) const;
  void set_handle(uint32_t id, uint32_t handle) const;
  int fd(uint32_t id) const;
  void set_fd(uint32_t id, int fd) const;

 private:
  ib_uverbs_attr* find(uint32_t id) const;
  ib_uverbs_attr& demand(uint32_t id) const;

  ib_uverbs_ioctl_hdr& header_;
};

}  // namespace ringer::sim::verbs
