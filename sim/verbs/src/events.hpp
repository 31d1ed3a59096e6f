// SPDX-License-Identifier: Apache-2.0
// Completion channels and asynchronous event files: pipes that the application reads.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include <ringer/sim/verbs_nic.hpp>

#include "file_id.hpp"

namespace ringer::sim::verbs {

/// A pipe of records of one size, each beginning with the user handle of the object it is about.
class EventPipe {
 public:
  /// Errors: VerbsError.
  explicit EventPipe(size_t record_bytes);
  ~EventPipe();
  EventPipe(const EventPipe&) = delete;
  EventPipe& operator=(const EventPipe&) = delete;

  /// The end for the application, which closes it.
  int take_reader();
  FileId id() const { return id_; }
  /// This object's own descriptor of the pipe.
  int own_fd() const { return own_; }
  /// Never blocks. False if the pipe is full: the event is lost.
  bool write(const void* record);
  /// Takes back what nobody has read of the events of `user_handle`; returns how many.
  uint32_t take_back(uint64_t user_handle);

 private:
  size_t record_bytes_;
  int reader_ = -1;
  int own_ = -1;  ///< both directions, nonblocking whatever the application does to its end
  FileId id_{};
};

/// The events of one object. Its address is the cookie that the NIC knows.
class EventSource {
 public:
  EventSource(uint64_t user_handle, std::shared_ptr<EventPipe> async,
              std::shared_ptr<EventPipe> completions = nullptr);

  void completed();
  void happened(AsyncEvent event);

  // Once the NIC has forgotten the object: how many events the application has seen or will see.
  uint32_t settle_completions();
  uint32_t settle_asyncs();

 private:
  uint64_t user_handle_;
  std::shared_ptr<EventPipe> async_;
  std::shared_ptr<EventPipe> completions_;
  std::atomic<uint32_t> asyncs_written_{0};
  std::atomic<uint32_t> completions_written_{0};
};

/// Hands the events of all NICs to their sources.
NicEvents* event_relay();

}  // namespace ringer::sim::verbs
