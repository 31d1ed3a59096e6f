// SPDX-License-Identifier: Apache-2.0
// The verbs objects. Each owns its counterpart in the NIC: made before it, destroyed with it.
#pragma once

#include <map>
#include <memory>
#include <mutex>

#include <ringer/control_plane.hpp>
#include <ringer/sim/nic.hpp>

#include "bar.hpp"
#include "events.hpp"
#include "memory_map.hpp"
#include "object_table.hpp"

namespace ringer::sim::verbs {

class ProtectionDomain : public Object {
 public:
  explicit ProtectionDomain(uint32_t as_number) : number(as_number) {}
  const uint32_t number;
};

/// A memory region or a memory window: what has a key in the NIC.
class MemoryKey : public Object {
 public:
  MemoryKey(Nic& nic, uint32_t of_nic, ProtectionDomain& domain)
      : pd(domain), key(of_nic), nic_(nic) {}
  ~MemoryKey() override { nic_.deregister_memory(key); }
  Use<ProtectionDomain> pd;
  const uint32_t key;

 private:
  Nic& nic_;
};

/// Pages of the BAR that are plain memory. The NIC knows nothing of them.
class DeviceMemory : public Object {
 public:
  /// Errors: VerbsError ENOMEM.
  DeviceMemory(Bar& bar, uint64_t length)
      : bytes(length), page(bar.allocate_memory(pages_of(length))), bar_(bar) {}
  ~DeviceMemory() override { bar_.release_memory(page, pages_of(bytes)); }
  uint8_t* data() const { return bar_.memory(page); }
  const uint64_t bytes;
  const uint32_t page;  ///< the first, counted from where device memory begins

 private:
  static uint32_t pages_of(uint64_t bytes) {
    return static_cast<uint32_t>((bytes + Bar::kPageBytes - 1) / Bar::kPageBytes);
  }
  Bar& bar_;
};

class MemoryRegionObject : public MemoryKey {
 public:
  MemoryRegionObject(Nic& nic, const MemoryRange& memory, ProtectionDomain& domain,
                     DeviceMemory* in = nullptr)
      : MemoryKey(nic, nic.register_range(memory), domain), range(memory), device_memory(in) {}
  MemoryRange range;
  const Use<DeviceMemory> device_memory;  ///< or null: it is the application's
};

/// A region in a dma-buf: the mapping outlives the key.
class DmaBufRegion : private DmaBufMapping, public MemoryRegionObject {
 public:
  DmaBufRegion(Nic& nic, const MemoryRange& wanted, ProtectionDomain& domain, int fd,
               uint64_t offset)
      : DmaBufMapping(fd, offset, wanted.bytes, (wanted.access & access::local_write) != 0),
        MemoryRegionObject(nic, at(data(), wanted), domain) {}

 private:
  static MemoryRange at(uint8_t* host, MemoryRange memory) {
    memory.host = host;
    return memory;
  }
};

class MemoryWindow : public MemoryKey {
 public:
  MemoryWindow(Nic& nic, ProtectionDomain& domain)
      : MemoryKey(nic, nic.allocate_window(domain.number), domain) {}
};

class AddressHandle : public Object {
 public:
  explicit AddressHandle(ProtectionDomain& domain) : pd(domain) {}
  Use<ProtectionDomain> pd;
};

class Uar : public Object {
 public:
  Uar(Nic& nic, Bar& bar) : page(bar.allocate()), nic_(nic), bar_(bar) {
    registers.registers = bar.registers(page);
    nic_.add_uar(&registers);
  }
  ~Uar() override {
    nic_.remove_uar(&registers);
    bar_.release(page);
  }
  const uint32_t page;
  UarPage registers;

 private:
  Nic& nic_;
  Bar& bar_;
};

class CompletionQueue : public Object {
 public:
  CompletionQueue(Nic& nic, const CompletionRing& memory, uint32_t as_number, uint64_t user_handle,
                  std::shared_ptr<EventPipe> async, std::shared_ptr<EventPipe> completions)
      : events(user_handle, std::move(async), std::move(completions)),
        number(as_number),
        ring(memory),
        nic_(nic),
        queue_(nic.create_completion_queue(ring, number, event_relay(), &events)) {}
  ~CompletionQueue() override { shut(); }

  NicCompletionQueue* queue() const { return queue_; }
  void resize(const CompletionRing& to) {
    nic_.resize_completion_queue(queue_, to);
    ring = to;
  }
  /// The NIC forgets it: from here on there are neither CQEs nor events.
  void shut() {
    if (queue_ != nullptr) nic_.destroy_completion_queue(std::exchange(queue_, nullptr));
  }

  EventSource events;
  const uint32_t number;
  CompletionRing ring;

 private:
  Nic& nic_;
  NicCompletionQueue* queue_;
};

/// XRC target queue pairs by number.
class QueuePairCore;
using TargetQueuePairs = std::map<Qpn, std::weak_ptr<QueuePairCore>>;

/// An XRC domain; all contexts of a device that open the same file share it.
struct XrcDomainCore {
  uint32_t number = 0;
  std::mutex mutex;
  TargetQueuePairs targets;  ///< guarded by `mutex`
};

class XrcDomain : public Object {
 public:
  explicit XrcDomain(std::shared_ptr<XrcDomainCore> shared) : core(std::move(shared)) {}
  const std::shared_ptr<XrcDomainCore> core;
};

struct ReceiveQueueSetup {
  ReceiveRing ring;
  ProtectionDomain* pd = nullptr;
  CompletionQueue* cq = nullptr;  ///< XRC alone
  XrcDomain* xrcd = nullptr;      ///< XRC alone
  uint32_t user_index = 0;
  uint32_t max_sge = 0;
  uint64_t user_handle = 0;
  std::shared_ptr<EventPipe> async;
};

class SharedReceiveQueue : public Object {
 public:
  SharedReceiveQueue(Nic& nic, const ReceiveQueueSetup& setup)
      : events(setup.user_handle, setup.async),
        pd(setup.pd),
        cq(setup.cq),
        xrcd(setup.xrcd),
        max_wr(setup.ring.count - 1),
        max_sge(setup.max_sge),
        nic_(nic),
        queue_(nic.create_receive_queue(setup.ring, pd->number, cq ? cq->queue() : nullptr,
                                        setup.user_index, xrcd ? xrcd->core->number : 0,
                                        event_relay(), &events)) {}
  ~SharedReceiveQueue() override { shut(); }

  NicReceiveQueue* queue() const { return queue_; }
  void shut() {
    if (queue_ != nullptr) nic_.destroy_receive_queue(std::exchange(queue_, nullptr));
  }

  EventSource events;
  const Use<ProtectionDomain> pd;
  const Use<CompletionQueue> cq;
  const Use<XrcDomain> xrcd;
  const uint32_t max_wr;
  const uint32_t max_sge;

 private:
  Nic& nic_;
  NicReceiveQueue* queue_;
};

}  // namespace ringer::sim::verbs
