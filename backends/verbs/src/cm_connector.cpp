// SPDX-License-Identifier: Apache-2.0
#include "cm_connector.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include <arpa/inet.h>

#include <ringer/verbs/rc_connection.hpp>

namespace ringer::verbs {

namespace {

constexpr int kResolveMs = 5000;
constexpr std::chrono::seconds kPatience{30};
constexpr int kBacklog = 1024;

// What a request says: for whom it is.
struct Wanted {
  Be32 qpn;
};

// A RoCE GID is an IP address (InfiniBand Architecture, annex A17).
sockaddr_storage ip_of(const uint8_t (&gid)[16], uint16_t port, uint32_t interface) {
  constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  sockaddr_storage storage{};
  if (std::memcmp(gid, kMapped, sizeof(kMapped)) == 0) {
    auto& v4 = reinterpret_cast<sockaddr_in&>(storage);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&v4.sin_addr, gid + sizeof(kMapped), sizeof(v4.sin_addr));
    return storage;
  }
  auto& v6 = reinterpret_cast<sockaddr_in6&>(storage);
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  std::memcpy(&v6.sin6_addr, gid, sizeof(v6.sin6_addr));
  if (IN6_IS_ADDR_LINKLOCAL(&v6.sin6_addr)) v6.sin6_scope_id = interface;
  return storage;
}

uint32_t interface_of(const Device& device) {
  ibv_gid_entry entry{};
  const auto index = static_cast<uint32_t>(device.choice.gid_index);
  device.verbs.query_gid_ex(device.context, device.choice.port, index, &entry, 0, sizeof(entry));
  return entry.ndev_ifindex;
}

sockaddr* generic(sockaddr_storage& storage) { return reinterpret_cast<sockaddr*>(&storage); }

bool asks(const QueuePairAddress& local, const QueuePairAddress& remote) {
  const int order = std::memcmp(local.gid, remote.gid, sizeof(local.gid));
  return order < 0 || (order == 0 && local.qpn < remote.qpn);
}

}  // namespace

CmConnector::CmConnector(const Device& device)
    : device_(device),
      cm_(CmLibrary::load()),
      own_address_(ip_of(device.gid.raw, 0, interface_of(device))),
      channel_(cm_.create_event_channel(), cm_.destroy_event_channel),
      listener_(nullptr, cm_.destroy_id) {
  if (!device.is_ethernet()) {
    throw BackendError("RINGER_IB_CONNECT=cm: " + device.name() +
                       " is not on Ethernet, its GID is no IP address");
  }
  if (channel_ == nullptr) fail("rdma_create_event_channel", device.name(), errno);
  listener_ = create_id(channel_.get());
  if (cm_.bind_addr(listener_.get(), generic(own_address_)) != 0) {
    fail("rdma_bind_addr", device.name(), errno);
  }
  if (cm_.listen(listener_.get(), kBacklog) != 0) fail("rdma_listen", device.name(), errno);
  port_ = ntohs(cm_.get_src_port(listener_.get()));
  thread_.emplace(channel_->fd, [this] { take_event(); });
}

CmConnector::~CmConnector() = default;

CmConnector::Id CmConnector::create_id(rdma_event_channel* channel) const {
  rdma_cm_id* id = nullptr;
  if (cm_.create_id(channel, &id, nullptr, RDMA_PS_TCP) != 0) {
    fail("rdma_create_id", device_.name(), errno);
  }
  return {id, cm_.destroy_id};
}

CmConnector::Id CmConnector::resolve(const QueuePairAddress& remote,
                                     const std::string& whom) const {
  const auto require = [&](int result, const char* verb) {
    if (result != 0) fail(verb, whom, errno);
  };
  Id id = create_id(nullptr);  // without a channel each call waits for its event
  auto tos = static_cast<uint8_t>(device_.settings.traffic_class.value);
  require(cm_.set_option(id.get(), RDMA_OPTION_ID, RDMA_OPTION_ID_TOS, &tos, sizeof(tos)),
          "rdma_set_option");
  sockaddr_storage from = own_address_;
  sockaddr_storage to = ip_of(remote.gid, remote.cm_port, interface_of(device_));
  require(cm_.resolve_addr(id.get(), generic(from), generic(to), kResolveMs), "rdma_resolve_addr");
  if (!is_ours(id.get())) {
    throw BackendError("connect: the way from " + whom + " leads over another device");
  }
  require(cm_.resolve_route(id.get(), kResolveMs), "rdma_resolve_route");
  return id;
}

// librdmacm opens devices by itself.
bool CmConnector::is_ours(const rdma_cm_id* id) const {
  return id->verbs != nullptr && device_.name() == id->verbs->device->name &&
         id->port_num == device_.choice.port;
}

void CmConnector::offer(ibv_qp* qp, uint32_t rnr_retries) {
  const std::lock_guard lock(mutex_);
  offers_.emplace(qp->qp_num, Offer{{qp, rnr_retries}, Id(nullptr, cm_.destroy_id), false, {}});
}

// An id is destroyed only when its events have been acknowledged, so not below the lock that our
// thread takes for them.
void CmConnector::withdraw(ibv_qp* qp) noexcept {
  Id id(nullptr, cm_.destroy_id);
  const std::lock_guard lock(mutex_);
  const auto offer = offers_.find(qp->qp_num);
  if (offer == offers_.end()) return;
  id = std::move(offer->second.id);
  offers_.erase(offer);
}

rdma_conn_param CmConnector::parameters(const Terms& terms) const {
  const auto reads = [](int most) { return static_cast<uint8_t>(std::clamp(most, 1, 16)); };
  rdma_conn_param p{};
  p.responder_resources = reads(device_.attributes.max_qp_rd_atom);
  p.initiator_depth = reads(device_.attributes.max_qp_init_rd_atom);
  p.retry_count = static_cast<uint8_t>(device_.settings.retry_count.value);
  p.rnr_retry_count = static_cast<uint8_t>(std::min(terms.rnr_retries, 7u));
  p.qp_num = terms.qp->qp_num;
  return p;
}

// As the kernel has found the way, but for what is set here.
void CmConnector::advance(rdma_cm_id* id, const Terms& terms, ibv_qp_state to) const {
  ibv_qp_attr a{};
  a.qp_state = to;
  int mask = 0;
  if (cm_.init_qp_attr(id, &a, &mask) != 0) fail("rdma_init_qp_attr", device_.name(), errno);
  if (to == IBV_QPS_RTR) a.min_rnr_timer = kMinRnrTimer;
  if (to == IBV_QPS_RTS) {
    a.timeout = static_cast<uint8_t>(device_.settings.timeout.value);
    a.retry_cnt = static_cast<uint8_t>(device_.settings.retry_count.value);
    a.rnr_retry = static_cast<uint8_t>(std::min(terms.rnr_retries, 7u));
  }
  const int error = device_.verbs.modify_qp(terms.qp, &a, mask);
  if (error != 0) fail("ibv_modify_qp as librdmacm has it", device_.name(), error);
}

// Nothing is locked while the peer is waited for: it may wait for an answer from here.
void CmConnector::connect(ibv_qp* qp, const QueuePairAddress& local, const QueuePairAddress& remote,
                          uint32_t peer) {
  if (remote.cm_port == 0) {
    throw BackendError("connect: rank " + std::to_string(peer) +
                       " does not connect by librdmacm (RINGER_IB_CONNECT)");
  }
  if (!asks(local, remote)) return;
  std::unique_lock lock(mutex_);
  const Terms terms = offers_.at(qp->qp_num).terms;
  lock.unlock();
  const std::string whom = device_.name() + " to rank " + std::to_string(peer);
  Id id = resolve(remote, whom);
  const Wanted wanted{Be32::of(remote.qpn)};
  rdma_conn_param p = parameters(terms);
  p.private_data = &wanted;
  p.private_data_len = sizeof(wanted);
  if (cm_.connect(id.get(), &p) != 0) fail("rdma_connect", whom, errno);
  advance(id.get(), terms, IBV_QPS_RTR);
  advance(id.get(), terms, IBV_QPS_RTS);
  if (cm_.establish(id.get()) != 0) fail("rdma_establish", whom, errno);
  lock.lock();
  Offer& offer = offers_.at(qp->qp_num);
  offer.id = std::move(id);
  offer.established = true;
}

void CmConnector::await(ibv_qp* qp, uint32_t peer) {
  std::unique_lock lock(mutex_);
  const Offer& offer = offers_.at(qp->qp_num);
  const auto decided = [&] { return offer.established || !offer.error.empty(); };
  const bool in_time = changed_.wait_for(lock, kPatience, decided);
  if (offer.established) return;
  throw BackendError("connect: rank " + std::to_string(peer) + " and " + device_.name() + ": " +
                     (in_time ? offer.error : "nobody has asked for the queue pair"));
}

void CmConnector::take_event() {
  rdma_cm_event* event = nullptr;
  if (cm_.get_cm_event(channel_.get(), &event) != 0) return;
  Id refused(nullptr, cm_.destroy_id);  // once the event is acknowledged
  {
    const std::lock_guard lock(mutex_);
    if (event->event != RDMA_CM_EVENT_CONNECT_REQUEST) {
      conclude(*event);
    } else if (!answer(*event)) {
      cm_.reject(event->id, nullptr, 0);
      refused.reset(event->id);
    }
    changed_.notify_all();
  }
  cm_.ack_cm_event(event);
}

// A request: false if it is for nobody here.
bool CmConnector::answer(const rdma_cm_event& event) {
  Wanted wanted;
  if (event.param.conn.private_data_len < sizeof(wanted) || !is_ours(event.id)) return false;
  std::memcpy(&wanted, event.param.conn.private_data, sizeof(wanted));
  const auto found = offers_.find(wanted.qpn.value());
  if (found == offers_.end() || found->second.id != nullptr) return false;
  Offer& offer = found->second;
  try {
    advance(event.id, offer.terms, IBV_QPS_RTR);
    advance(event.id, offer.terms, IBV_QPS_RTS);
  } catch (const BackendError& error) {
    offer.error = error.what();
    return false;
  }
  rdma_conn_param p = parameters(offer.terms);
  if (cm_.accept(event.id, &p) != 0) {
    offer.error = std::string("rdma_accept: ") + std::strerror(errno);
    return false;
  }
  offer.id.reset(event.id);
  return true;
}

// What becomes of an answer. Disconnections say nothing that the queue pair will not show.
void CmConnector::conclude(const rdma_cm_event& event) {
  const auto found = std::find_if(offers_.begin(), offers_.end(), [&](const auto& entry) {
    return entry.second.id.get() == event.id;
  });
  if (found == offers_.end()) return;
  Offer& offer = found->second;
  if (event.event == RDMA_CM_EVENT_ESTABLISHED) {
    offer.established = true;
  } else if (!offer.established) {
    offer.error = "the connection failed while it was made";
  }
}

}  // namespace ringer::verbs
