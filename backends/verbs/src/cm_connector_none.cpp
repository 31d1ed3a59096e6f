// SPDX-License-Identifier: Apache-2.0
// In place of cm_connector.cpp where there is no librdmacm to build with.
#include <ringer/control_plane.hpp>

#include "cm_connector.hpp"

namespace ringer::verbs {

struct CmConnector::State {};

CmConnector::CmConnector(const Device&) {
  throw BackendError("RINGER_IB_CONNECT=cm: not part of this build (librdmacm-dev was not there)");
}
CmConnector::~CmConnector() = default;
uint16_t CmConnector::port() const { return 0; }
void CmConnector::offer(ibv_qp*, uint32_t) {}
void CmConnector::withdraw(ibv_qp*) noexcept {}
void CmConnector::connect(ibv_qp*, const QueuePairAddress&, const QueuePairAddress&, uint32_t) {}
bool CmConnector::connected(ibv_qp*) { return false; }
void CmConnector::await(ibv_qp*, uint32_t) {}

}  // namespace ringer::verbs
