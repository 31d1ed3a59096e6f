// SPDX-License-Identifier: Apache-2.0
// Connections by librdmacm between queue pairs that others have made. Of two ends the one with the
// lower address asks and the other one answers, whether or not its owner has come to it.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include <ringer/verbs/device.hpp>

#include "cm_library.hpp"
#include "event_thread.hpp"

namespace ringer::verbs {

/// Of one port: it waits for peers' requests.
class CmConnector {
 public:
  /// Errors: BackendError, as for all here; on InfiniBand, too, where a GID is no address.
  explicit CmConnector(const Device& device);
  ~CmConnector();
  CmConnector(const CmConnector&) = delete;
  CmConnector& operator=(const CmConnector&) = delete;

  /// Where peers ask (QueuePairAddress::cm_port).
  uint16_t port() const { return port_; }
  /// `qp`, in INIT, is for whichever peer asks for it.
  void offer(ibv_qp* qp, uint32_t rnr_retries);
  /// And no more; a connection that it has ends.
  void withdraw(ibv_qp* qp) noexcept;
  /// Connects `qp`, or leaves it to rank `peer` to ask.
  void connect(ibv_qp* qp, const QueuePairAddress& local, const QueuePairAddress& remote,
               uint32_t peer);
  /// Until `qp` is in RTS; rank `peer` is the one to ask.
  void await(ibv_qp* qp, uint32_t peer);

 private:
  using Id = std::unique_ptr<rdma_cm_id, decltype(&rdma_destroy_id)>;
  struct Terms {
    ibv_qp* qp;
    uint32_t rnr_retries;
  };
  struct Offer {
    Terms terms;
    Id id;  // none: nobody has asked
    bool established = false;
    std::string error;
  };

  Id create_id(rdma_event_channel* channel) const;
  Id resolve(const QueuePairAddress& remote, const std::string& whom) const;
  bool is_ours(const rdma_cm_id* id) const;
  rdma_conn_param parameters(const Terms& terms) const;
  void advance(rdma_cm_id* id, const Terms& terms, ibv_qp_state to) const;
  void take_event();
  bool answer(const rdma_cm_event& event);
  void conclude(const rdma_cm_event& event);

  const Device& device_;
  const CmLibrary& cm_;
  sockaddr_storage own_address_;
  std::unique_ptr<rdma_event_channel, decltype(&rdma_destroy_event_channel)> channel_;
  Id listener_;
  uint16_t port_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<Qpn, Offer> offers_;
  std::optional<EventThread> thread_;  // last: it uses what is above
};

}  // namespace ringer::verbs
