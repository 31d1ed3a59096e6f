// SPDX-License-Identifier: Apache-2.0
// HostPlatform that a test sees into and steers: virtual time, hooks at the moments that matter, a
// log of writes. With it a wait makes its own progress, on one thread, the same way every time.
#pragma once

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include <ringer/host_platform.hpp>

namespace ringer::test {

enum class WriteKind { store, update, wqe, doorbell };

struct Write {
  WriteKind kind;
  const void* address;
  uint64_t value;
};

/// What all copies of a ProbePlatform share. Hooks may be empty.
struct Probe {
  uint64_t clock_ns = 1;
  uint64_t idle_ns = 1000;            ///< what one poll in vain costs
  std::function<void()> on_idle;      ///< after each poll in vain
  std::function<void()> on_doorbell;  ///< right behind each doorbell store
  std::function<void()> on_access;    ///< before each shared access
  bool recording = false;
  std::vector<Write> writes;
  uint64_t doorbells = 0;
  std::string last_site;  ///< the wait that polled in vain last
};

class ProbePlatform : public HostPlatform {
 public:
  explicit ProbePlatform(Probe& probe) : probe_(&probe) {}

  template <Scope kScope, Order kOrder, class T>
  T load(const T* address) const {
    accessing();
    return HostPlatform::load<kScope, kOrder>(address);
  }
  template <Scope kScope, Order kOrder, class T>
  void store(T* address, T value) const {
    accessing();
    record(WriteKind::store, address, value);
    HostPlatform::store<kScope, kOrder>(address, value);
  }
  template <Scope kScope, Order kOrder, class T>
  T fetch_add(T* address, T value) const {
    accessing();
    record(WriteKind::update, address, value);
    return HostPlatform::fetch_add<kScope, kOrder>(address, value);
  }
  template <Scope kScope, Order kOrder, class T>
  T fetch_max(T* address, T value) const {
    accessing();
    record(WriteKind::update, address, value);
    return HostPlatform::fetch_max<kScope, kOrder>(address, value);
  }
  template <Scope kScope, Order kOrder, class T>
  T exchange(T* address, T value) const {
    accessing();
    record(WriteKind::update, address, value);
    return HostPlatform::exchange<kScope, kOrder>(address, value);
  }
  template <Scope kScope, Order kOrder, class T>
  bool compare_exchange(T* address, T expected, T desired) const {
    accessing();
    record(WriteKind::update, address, desired);
    return HostPlatform::compare_exchange<kScope, kOrder>(address, expected, desired);
  }
  void copy_wqe(void* slot, const void* wqe, uint32_t segments) const {
    accessing();
    record(WriteKind::wqe, slot, segments);
    HostPlatform::copy_wqe(slot, wqe, segments);
  }
  void mmio_store(uint64_t* doorbell, uint64_t value) const {
    accessing();
    record(WriteKind::doorbell, doorbell, value);
    ++probe_->doorbells;
    HostPlatform::mmio_store(doorbell, value);
    if (probe_->on_doorbell) probe_->on_doorbell();
  }

  template <Scope kScope, Order kOrder, class T, class Predicate>
  WaitOutcome wait_until(const T* address, Predicate&& predicate, const WaitLimit& limit,
                         const char* site) const {
    for (uint32_t polls = 0;; ++polls) {
      if (predicate(load<kScope, kOrder>(address))) return WaitOutcome::done;
      if (stop_requested(limit)) return WaitOutcome::stopped;
      if (now_ns() >= limit.expires_ns) return WaitOutcome::deadline;
      if (polls == kMaxPolls) throw std::logic_error(std::string("wait never ends: ") + site);
      probe_->clock_ns += probe_->idle_ns;
      probe_->last_site = site;
      if (probe_->on_idle) probe_->on_idle();
    }
  }

  uint64_t now_ns() const { return probe_->clock_ns; }

 private:
  static constexpr uint32_t kMaxPolls = 1'000'000;

  void accessing() const {
    if (probe_->on_access) probe_->on_access();
  }
  void record(WriteKind kind, const void* address, uint64_t value) const {
    if (probe_->recording) probe_->writes.push_back({kind, address, value});
  }

  Probe* probe_;
};

static_assert(Platform<ProbePlatform>);

}  // namespace ringer::test
