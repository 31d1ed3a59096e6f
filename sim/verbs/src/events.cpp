// SPDX-License-Identifier: Apache-2.0
#include "events.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <rdma/ib_user_verbs.h>
#include <unistd.h>

#include "real.hpp"
#include "verbs_error.hpp"

namespace ringer::sim::verbs {

namespace {

class EventRelay : public NicEvents {
 public:
  void completion(void* cookie) override { static_cast<EventSource*>(cookie)->completed(); }
  void async(AsyncEvent event, void* cookie) override {
    static_cast<EventSource*>(cookie)->happened(event);
  }
};

}  // namespace

EventPipe::EventPipe(size_t record_bytes) : record_bytes_(record_bytes) {
  std::array<int, 2> ends;
  require(pipe2(ends.data(), O_CLOEXEC) == 0, errno);
  reader_ = ends[0];
  // Opened anew, it has a file description of its own, and flags that the application's end has no
  // part in.
  const std::string path = "/proc/self/fd/" + std::to_string(reader_);
  own_ = real::open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC, 0);
  const int error = errno;
  real::close(ends[1]);
  if (own_ < 0) {
    real::close(reader_);
    refuse(error);
  }
  id_ = *file_id(reader_);
}

EventPipe::~EventPipe() {
  if (reader_ >= 0) real::close(reader_);
  real::close(own_);
}

int EventPipe::take_reader() { return std::exchange(reader_, -1); }

bool EventPipe::write(const void* record) {
  return ::write(own_, record, record_bytes_) == static_cast<ssize_t>(record_bytes_);
}

uint32_t EventPipe::take_back(uint64_t user_handle) {
  std::vector<uint8_t> kept;
  uint32_t taken = 0;
  std::array<uint8_t, 64> record;
  while (::read(own_, record.data(), record_bytes_) == static_cast<ssize_t>(record_bytes_)) {
    uint64_t about = 0;
    std::memcpy(&about, record.data(), sizeof about);
    if (about == user_handle) {
      ++taken;
    } else {
      kept.insert(kept.end(), record.data(), record.data() + record_bytes_);
    }
  }
  for (size_t at = 0; at < kept.size(); at += record_bytes_) write(kept.data() + at);
  return taken;
}

EventSource::EventSource(uint64_t user_handle, std::shared_ptr<EventPipe> async,
                         std::shared_ptr<EventPipe> completions)
    : user_handle_(user_handle), async_(std::move(async)), completions_(std::move(completions)) {}

void EventSource::completed() {
  const ib_uverbs_comp_event_desc record = {user_handle_};
  if (completions_ && completions_->write(&record)) ++completions_written_;
}

void EventSource::happened(AsyncEvent event) {
  const ib_uverbs_async_event_desc record = {user_handle_, static_cast<uint32_t>(event), 0};
  if (async_ && async_->write(&record)) ++asyncs_written_;
}

uint32_t EventSource::settle_completions() {
  return completions_ ? completions_written_ - completions_->take_back(user_handle_) : 0;
}

uint32_t EventSource::settle_asyncs() {
  return async_ ? asyncs_written_ - async_->take_back(user_handle_) : 0;
}

NicEvents* event_relay() {
  static EventRelay* const relay =
      new EventRelay;  // the NIC's thread may outlive all that is static
  return relay;
}

}  // namespace ringer::sim::verbs
