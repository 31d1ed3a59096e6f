// SPDX-License-Identifier: Apache-2.0
// Connections by librdmacm between queue pairs that others have made. Of two ends the one with the
// lower address asks and the other one answers, whether or not its owner has come to it.
#pragma once

#include <memory>

#include <ringer/verbs/device.hpp>

namespace ringer::verbs {

/// Of one port: it waits for peers' requests.
class CmConnector {
 public:
  /// Errors: BackendError, as for all here; on InfiniBand, too, where a GID is no address, and
  /// where librdmacm is not part of the build.
  explicit CmConnector(const Device& device);
  ~CmConnector();
  CmConnector(const CmConnector&) = delete;
  CmConnector& operator=(const CmConnector&) = delete;

  /// Where peers ask (QueuePairAddress::cm_port).
  uint16_t port() const;
  /// `qp`, in INIT, is for whichever peer asks for it.
  void offer(ibv_qp* qp, uint32_t rnr_retries);
  /// And no more; a connection that it has ends.
  void withdraw(ibv_qp* qp) noexcept;
  /// Connects `qp`, waiting for the peer's answer, or leaves it to rank `peer` to ask.
  void connect(ibv_qp* qp, const QueuePairAddress& local, const QueuePairAddress& remote,
               uint32_t peer);
  /// Whether `qp` is in RTS.
  bool connected(ibv_qp* qp);
  /// Until it is. Rank `peer` is the one to ask.
  void await(ibv_qp* qp, uint32_t peer);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ringer::verbs
