// SPDX-License-Identifier: Apache-2.0
// Objects of a context by handle. One that others use cannot be destroyed.
#pragma once

#include <cerrno>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>

#include "verbs_error.hpp"

namespace ringer::sim::verbs {

/// Whatever has a handle.
class Object {
 public:
  Object() = default;
  virtual ~Object() = default;
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

  uint32_t handle() const { return handle_; }
  virtual uint32_t users() const { return users_; }

 private:
  friend class ObjectTable;
  template <class T>
  friend class Use;
  uint32_t handle_ = 0;
  uint32_t users_ = 0;
};

/// A pointer, maybe null, that counts as a user of its object.
template <class T>
class Use {
 public:
  Use() = default;
  explicit Use(T* object) : object_(object) {
    if (object_ != nullptr) ++base()->users_;
  }
  explicit Use(T& object) : Use(&object) {}
  ~Use() {
    if (object_ != nullptr) --base()->users_;
  }
  Use(Use&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Use& operator=(Use&& other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  T* get() const { return object_; }
  T* operator->() const { return object_; }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  Object* base() const { return object_; }
  T* object_ = nullptr;
};

class ObjectTable {
 public:
  ObjectTable() = default;
  ~ObjectTable() { clear(); }
  ObjectTable(const ObjectTable&) = delete;
  ObjectTable& operator=(const ObjectTable&) = delete;

  template <class T>
  T& add(std::unique_ptr<T> object) {
    T& added = *object;
    added.handle_ = next_++;
    objects_.emplace(added.handle_, std::move(object));
    return added;
  }
  template <class T, class... Arguments>
  T& make(Arguments&&... arguments) {
    return add(std::make_unique<T>(std::forward<Arguments>(arguments)...));
  }

  /// Errors: VerbsError EINVAL if `handle` is not that of a T, `absent` if it is nobody's.
  template <class T>
  T& at(uint32_t handle, int absent = EINVAL) const {
    const auto found = objects_.find(handle);
    require(found != objects_.end(), absent);
    T* object = dynamic_cast<T*>(found->second.get());
    require(object != nullptr, EINVAL);
    return *object;
  }
  /// The first T that `wanted` says yes to, or null.
  template <class T, class Predicate>
  T* find(Predicate wanted) const {
    for (const auto& [handle, object] : objects_) {
      T* candidate = dynamic_cast<T*>(object.get());
      if (candidate != nullptr && wanted(*candidate)) return candidate;
    }
    return nullptr;
  }
  /// Removes an object without users. Errors: VerbsError EBUSY, and those of at().
  template <class T>
  std::unique_ptr<T> take(uint32_t handle, int absent = EINVAL) {
    T& object = at<T>(handle, absent);
    require(object.users() == 0, EBUSY);
    const auto node = objects_.extract(handle);
    static_cast<void>(node.mapped().release());
    return std::unique_ptr<T>(&object);
  }
  /// Destroys all, users first.
  void clear() {
    while (!objects_.empty()) {
      const size_t before = objects_.size();
      std::erase_if(objects_, [](const auto& entry) { return entry.second->users() == 0; });
      if (objects_.size() == before) break;  // a circle: never made
    }
  }

 private:
  std::map<uint32_t, std::unique_ptr<Object>> objects_;
  uint32_t next_ = 1;
};

}  // namespace ringer::sim::verbs
