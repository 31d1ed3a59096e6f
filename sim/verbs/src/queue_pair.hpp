// SPDX-License-Identifier: Apache-2.0
// Queue pairs: their attributes, and the object that has a handle.
#pragma once

#include <memory>
#include <mutex>

#include <rdma/ib_user_ioctl_verbs.h>

#include "device_model.hpp"
#include "objects.hpp"

namespace ringer::sim::verbs {

/// A queue pair of the NIC with all that was set on it. Several handles may share one (XRC).
class QueuePairCore {
 public:
  QueuePairCore(Nic& nic, const DeviceModel& model, const VerbsQueuePairSetup& setup);
  ~QueuePairCore() { nic_.destroy_queue_pair(qpn_); }
  QueuePairCore(const QueuePairCore&) = delete;
  QueuePairCore& operator=(const QueuePairCore&) = delete;

  Qpn qpn() const { return qpn_; }
  Transport transport() const { return transport_; }
  LinkLayer link() const { return model_.link; }
  QueuePairState state() const { return nic_.state_of(qpn_); }
  /// As the kernel: checks the transition and each value. `remote_lid` is where an address vector
  /// in `change` leads to. Errors: VerbsError EINVAL.
  void modify(const ib_uverbs_modify_qp& change, uint16_t remote_lid);
  /// State, capacities and signaling are left to the caller.
  ib_uverbs_query_qp_resp attributes() const;

 private:
  QueuePairState next_state(const ib_uverbs_modify_qp& change) const;
  void check_values(const ib_uverbs_modify_qp& change, QueuePairState to) const;
  void take_values(const ib_uverbs_modify_qp& change);
  void apply(QueuePairState state);

  Nic& nic_;
  const DeviceModel model_;
  Transport transport_;
  Qpn qpn_;
  mutable std::mutex mutex_;
  ib_uverbs_modify_qp set_{};  ///< the last value of each attribute
  uint16_t remote_lid_ = kNoLid;
};

struct QueuePairUses {
  Use<ProtectionDomain> pd;
  Use<CompletionQueue> send_cq;
  Use<CompletionQueue> receive_cq;
  Use<SharedReceiveQueue> srq;
  Use<XrcDomain> xrcd;
  Use<Uar> uar;
};

class QueuePair : public Object {
 public:
  QueuePair(uint64_t user_handle, std::shared_ptr<EventPipe> async, QueuePairUses used)
      : events(user_handle, std::move(async)), uses(std::move(used)) {}

  EventSource events;
  const QueuePairUses uses;
  std::shared_ptr<QueuePairCore> core;
  ib_uverbs_qp_cap capacity{};
  bool signal_all = false;
};

}  // namespace ringer::sim::verbs
