// SPDX-License-Identifier: Apache-2.0
#include "context.hpp"

#include <algorithm>
#include <new>

#include <ringer/control_plane.hpp>

#include "methods.hpp"

namespace ringer::sim::verbs {

namespace {

const Method* find_method(const Request& request) {
  for (const auto& methods : {device_methods(), memory_methods(), device_memory_methods(),
                              completion_methods(), receive_queue_methods(), queue_pair_methods(),
                              uar_methods(), devx_methods(), devx_object_methods()}) {
    for (const Method& method : methods) {
      if (method.object == request.object() && method.method == request.method()) return &method;
    }
  }
  return nullptr;
}

bool knows(const Method& method, const ib_uverbs_attr& attribute) {
  const uint32_t name_space = attribute.attr_id >> UVERBS_ID_NS_SHIFT;
  if (name_space > UVERBS_UDATA_DRIVER_DATA_NS) return false;
  return up_to(attribute.attr_id) <=
         (name_space == 0 ? method.core_attributes : method.driver_attributes);
}

}  // namespace

int Context::control(ib_uverbs_ioctl_hdr& header) {
  if (header.length != sizeof header + header.num_attrs * sizeof header.attrs[0]) return EINVAL;
  const std::lock_guard lock(mutex_);
  try {
    dispatch(Request(header));
    return 0;
  } catch (const VerbsError& error) {
    return error.code();
  } catch (const std::bad_alloc&) {
    return ENOMEM;
  } catch (const BackendError&) {
    return ENOMEM;  // the NIC is full
  }
}

void Context::dispatch(const Request& request) {
  const Method* method = find_method(request);
  require(method != nullptr, EPROTONOSUPPORT);
  for (const ib_uverbs_attr& attribute : request.attributes()) {
    const bool may_be_ignored = (attribute.flags & UVERBS_ATTR_F_MANDATORY) == 0;
    require(may_be_ignored || knows(*method, attribute), EPROTONOSUPPORT);
  }
  const bool of_device = method->object == UVERBS_OBJECT_DEVICE;
  require(ready || of_device, EINVAL);
  require(!inherited_ || method->without_nic, EIO);
  method->run(*this, request);
}

const EventPipe* Context::find_pipe(const FileId& id) const {
  const std::lock_guard lock(mutex_);
  const auto found = pipes_.find(id);
  return found == pipes_.end() ? nullptr : found->second.get();
}

std::shared_ptr<EventPipe> Context::pipe(int fd) const {
  const auto id = file_id(fd);
  require(id.has_value(), EBADF);
  const auto found = pipes_.find(*id);
  require(found != pipes_.end(), EINVAL);
  return found->second;
}

int Context::add_pipe(size_t record_bytes) {
  const auto made = std::make_shared<EventPipe>(record_bytes);
  pipes_.emplace(made->id(), made);
  if (record_bytes == sizeof(ib_uverbs_async_event_desc) && !default_async_) default_async_ = made;
  return made->take_reader();
}

std::shared_ptr<EventPipe> Context::async_pipe(const Request& request, uint32_t id) const {
  return request.has(id) ? pipe(request.fd(id)) : default_async_;
}

bool Context::forget_pipe(const FileId& id) {
  const std::lock_guard lock(mutex_);
  return pipes_.erase(id) != 0;
}

Uar& Context::uar(uint32_t page) const {
  Uar* found = objects.find<Uar>([&](const Uar& uar) { return uar.page == page; });
  require(found != nullptr, EINVAL);
  return *found;
}

}  // namespace ringer::sim::verbs
