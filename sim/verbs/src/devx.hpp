// SPDX-License-Identifier: Apache-2.0
// Objects that an application makes by firmware commands.
#pragma once

#include <memory>
#include <utility>

#include "objects.hpp"
#include "prm.hpp"
#include "queue_pair.hpp"

namespace ringer::sim::verbs {

/// Memory that firmware commands name by number: its handle.
class DevxUmem : public Object {
 public:
  DevxUmem(uint64_t start, uint64_t size) : address(start), bytes(size) {}
  DevxUmem(std::unique_ptr<DmaBufMapping> in, uint64_t size)
      : address(reinterpret_cast<uint64_t>(in->data())), bytes(size), mapping_(std::move(in)) {}
  const uint64_t address;
  const uint64_t bytes;

 private:
  std::unique_ptr<DmaBufMapping> mapping_;  // null: the application's own memory
};

class DevxObject : public Object {
 public:
  virtual void modify(const prm::Input& command, prm::Output& answer);
  virtual void query(const prm::Input& command, prm::Output& answer);
};

class DevxCompletionQueue : public DevxObject {
 public:
  DevxCompletionQueue(Nic& nic, const CompletionRing& ring, uint32_t number, Use<DevxUmem> ring_in,
                      Use<DevxUmem> dbr_in)
      : cq(nic, ring, number, 0, nullptr, nullptr),
        ring_umem_(std::move(ring_in)),
        dbr_umem_(std::move(dbr_in)) {}
  uint32_t users() const override { return cq.users(); }

  CompletionQueue cq;

 private:
  const Use<DevxUmem> ring_umem_;
  const Use<DevxUmem> dbr_umem_;
};

class DevxQueuePair : public DevxObject {
 public:
  DevxQueuePair(QueuePairUses uses, Use<DevxUmem> rings_in, Use<DevxUmem> dbr_in)
      : uses_(std::move(uses)), ring_umem_(std::move(rings_in)), dbr_umem_(std::move(dbr_in)) {}
  void modify(const prm::Input& command, prm::Output& answer) override;
  void query(const prm::Input& command, prm::Output& answer) override;

  const QueuePairUses& uses() const { return uses_; }
  void start(std::unique_ptr<QueuePairCore> core) { core_ = std::move(core); }
  const QueuePairCore& core() const { return *core_; }

 private:
  const QueuePairUses uses_;
  const Use<DevxUmem> ring_umem_;
  const Use<DevxUmem> dbr_umem_;
  std::unique_ptr<QueuePairCore> core_;
};

/// A receive memory pool: what verbs calls a shared receive queue.
class DevxReceivePool : public DevxObject {
 public:
  DevxReceivePool(Nic& nic, const ReceiveQueueSetup& setup, Use<DevxUmem> ring_in,
                  Use<DevxUmem> dbr_in)
      : srq(nic, setup), ring_umem_(std::move(ring_in)), dbr_umem_(std::move(dbr_in)) {}
  // The queue goes before the memory that it is in.
  ~DevxReceivePool() override { srq.shut(); }
  uint32_t users() const override { return srq.users(); }

  SharedReceiveQueue srq;

 private:
  const Use<DevxUmem> ring_umem_;
  const Use<DevxUmem> dbr_umem_;
};

class DevxMemoryKey : public DevxObject {
 public:
  DevxMemoryKey(Nic& nic, const MemoryRange& range, ProtectionDomain& pd, Use<DevxUmem> umem)
      : region(nic, range, pd), umem_(std::move(umem)) {}
  const MemoryRegionObject region;

 private:
  const Use<DevxUmem> umem_;
};

}  // namespace ringer::sim::verbs
