// SPDX-License-Identifier: Apache-2.0
#include "cm_connector.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>

#include <ringer/verbs/rc_connection.hpp>

#include "cm_address.hpp"
#include "cm_library.hpp"
#include "event_thread.hpp"

namespace ringer::verbs {

namespace {

constexpr int kResolveMs = 5000;
constexpr std::chrono::seconds kPatience{30};
constexpr int kBacklog = 1024;

using Id = std::unique_ptr<rdma_cm_id, decltype(&rdma_destroy_id)>;

// What a request says: for whom it is.
struct Wanted {
  Be32 qpn;
};

// A queue pair that is for one peer.
struct Offer {
  ibv_qp* qp;
  uint32_t rnr_retries;
  Qpn awaited = 0;  // the peer's queue pair; 0: its owner has not come to it yet
  Qpn asked_by = 0;
  Id id;           // none: nobody has asked
  int news = -1;   // the last event
  int status = 0;  // of it: an errno, or librdmacm's reason
  bool established = false;
  std::string error;
};

bool asks(const QueuePairAddress& local, const QueuePairAddress& remote) {
  const int order = std::memcmp(local.gid, remote.gid, sizeof(local.gid));
  return order < 0 || (order == 0 && local.qpn < remote.qpn);
}

}  // namespace

struct CmConnector::State {
  explicit State(const Device& d);

  Id create_id() const;
  void listen();
  void resolve(Offer& offer, const QueuePairAddress& remote, const std::string& whom,
               std::unique_lock<std::mutex>& lock);
  void ask(Offer& offer, const QueuePairAddress& remote, const std::string& whom,
           std::unique_lock<std::mutex>& lock);
  void await_news(const Offer& offer, rdma_cm_event_type wanted, const char* verb,
                  const std::string& whom, std::unique_lock<std::mutex>& lock);
  bool is_ours(const rdma_cm_id* id) const;
  rdma_conn_param parameters(const Offer& offer) const;
  void advance(rdma_cm_id* id, const Offer& offer, ibv_qp_state to) const;
  void take_event();
  bool answer(const rdma_cm_event& event);
  void note(const rdma_cm_event& event);

  const Device& device;
  const CmLibrary& cm;
  uint32_t interface;
  std::unique_ptr<rdma_event_channel, decltype(&rdma_destroy_event_channel)> channel;
  Id listener;
  uint16_t port = 0;
  std::mutex mutex;
  std::condition_variable changed;
  std::map<Qpn, Offer> offers;
  std::optional<EventThread> thread;  // last: it uses what is above
};

CmConnector::State::State(const Device& d)
    : device(d),
      cm(CmLibrary::load()),
      interface(0),
      channel(nullptr, cm.destroy_event_channel),
      listener(nullptr, cm.destroy_id) {
  if (!device.is_ethernet()) {
    throw BackendError("RINGER_IB_CONNECT=cm: " + device.name() +
                       " is not on Ethernet, its GID is no IP address");
  }
  ibv_gid_entry entry{};
  const auto index = static_cast<uint32_t>(device.choice.gid_index);
  device.verbs.query_gid_ex(device.context, device.choice.port, index, &entry, 0, sizeof(entry));
  interface = entry.ndev_ifindex;
  channel.reset(cm.create_event_channel());
  if (channel == nullptr) fail("rdma_create_event_channel", device.name(), errno);
  listen();
  thread.emplace(channel->fd, [this] { take_event(); });
}

Id CmConnector::State::create_id() const {
  rdma_cm_id* id = nullptr;
  if (cm.create_id(channel.get(), &id, nullptr, RDMA_PS_TCP) != 0) {
    fail("rdma_create_id", device.name(), errno);
  }
  return {id, cm.destroy_id};
}

void CmConnector::State::listen() {
  listener = create_id();
  sockaddr_storage own = ip_of(device.gid.raw, 0, interface);
  if (cm.bind_addr(listener.get(), reinterpret_cast<sockaddr*>(&own)) != 0) {
    fail("rdma_bind_addr", device.name(), errno);
  }
  if (cm.listen(listener.get(), kBacklog) != 0) fail("rdma_listen", device.name(), errno);
  port = ntohs(cm.get_src_port(listener.get()));
}

// What `verb` was to bring, within its time.
void CmConnector::State::await_news(const Offer& offer, rdma_cm_event_type wanted, const char* verb,
                                    const std::string& whom, std::unique_lock<std::mutex>& lock) {
  const bool in_time = changed.wait_for(lock, kPatience, [&] { return offer.news >= 0; });
  if (!in_time) throw BackendError(std::string(verb) + " on " + whom + ": no answer");
  if (offer.news == wanted) return;
  if (offer.news == RDMA_CM_EVENT_REJECTED) {
    throw BackendError(std::string(verb) + " on " + whom + ": its queue pair is not to be had");
  }
  fail(verb, whom, offer.status < 0 ? -offer.status : ECONNREFUSED);
}

void CmConnector::State::resolve(Offer& offer, const QueuePairAddress& remote,
                                 const std::string& whom, std::unique_lock<std::mutex>& lock) {
  rdma_cm_id* id = offer.id.get();
  const Sourced<int>& traffic_class = device.settings.traffic_class;
  if (traffic_class.origin != "default") {
    auto tos = static_cast<uint8_t>(traffic_class.value);
    if (cm.set_option(id, RDMA_OPTION_ID, RDMA_OPTION_ID_TOS, &tos, sizeof(tos)) != 0) {
      fail("rdma_set_option", whom, errno);
    }
  }
  sockaddr_storage from = ip_of(device.gid.raw, 0, interface);
  sockaddr_storage to = ip_of(remote.gid, remote.cm_port, interface);
  if (cm.resolve_addr(id, reinterpret_cast<sockaddr*>(&from), reinterpret_cast<sockaddr*>(&to),
                      kResolveMs) != 0) {
    fail("rdma_resolve_addr", whom, errno);
  }
  await_news(offer, RDMA_CM_EVENT_ADDR_RESOLVED, "rdma_resolve_addr", whom, lock);
  if (!is_ours(id)) {
    throw BackendError("connect: the way from " + whom + " leads over another device");
  }
  offer.news = -1;
  if (cm.resolve_route(id, kResolveMs) != 0) fail("rdma_resolve_route", whom, errno);
  await_news(offer, RDMA_CM_EVENT_ROUTE_RESOLVED, "rdma_resolve_route", whom, lock);
}

// The lock is only held between waits: the peer may at the same time wait for an answer from here.
void CmConnector::State::ask(Offer& offer, const QueuePairAddress& remote, const std::string& whom,
                             std::unique_lock<std::mutex>& lock) {
  offer.id = create_id();
  resolve(offer, remote, whom, lock);
  const Wanted wanted{Be32::of(remote.qpn)};
  rdma_conn_param p = parameters(offer);
  p.private_data = &wanted;
  p.private_data_len = sizeof(wanted);
  offer.news = -1;
  if (cm.connect(offer.id.get(), &p) != 0) fail("rdma_connect", whom, errno);
  await_news(offer, RDMA_CM_EVENT_CONNECT_RESPONSE, "rdma_connect", whom, lock);
  advance(offer.id.get(), offer, IBV_QPS_RTR);
  advance(offer.id.get(), offer, IBV_QPS_RTS);
  if (cm.establish(offer.id.get()) != 0) fail("rdma_establish", whom, errno);
  offer.established = true;
  changed.notify_all();
}

// librdmacm opens devices by itself.
bool CmConnector::State::is_ours(const rdma_cm_id* id) const {
  return id->verbs != nullptr && device.name() == id->verbs->device->name &&
         id->port_num == device.choice.port;
}

rdma_conn_param CmConnector::State::parameters(const Offer& offer) const {
  rdma_conn_param p{};
  p.responder_resources = read_depth(device.attributes.max_qp_rd_atom);
  p.initiator_depth = read_depth(device.attributes.max_qp_init_rd_atom);
  p.retry_count = static_cast<uint8_t>(device.settings.retry_count.value);
  p.rnr_retry_count = static_cast<uint8_t>(std::min(offer.rnr_retries, 7u));
  p.qp_num = offer.qp->qp_num;
  return p;
}

// As the kernel has found the way, but for what is set here.
void CmConnector::State::advance(rdma_cm_id* id, const Offer& offer, ibv_qp_state to) const {
  const FabricSettings& set = device.settings;
  ibv_qp_attr a{};
  a.qp_state = to;
  int mask = 0;
  if (cm.init_qp_attr(id, &a, &mask) != 0) {
    fail("rdma_init_qp_attr", device.name(), errno);
  }
  if (to == IBV_QPS_RTR) {
    a.min_rnr_timer = kMinRnrTimer;
    a.max_dest_rd_atomic =
        std::min(read_depth(device.attributes.max_qp_rd_atom), a.max_dest_rd_atomic);
    if (set.service_level.origin != "default") {
      a.ah_attr.sl = static_cast<uint8_t>(set.service_level.value);
    }
    if (set.traffic_class.origin != "default") {
      a.ah_attr.grh.traffic_class = static_cast<uint8_t>(set.traffic_class.value);
    }
  }
  if (to == IBV_QPS_RTS) {
    set_retries(device, offer.rnr_retries, a);
    a.max_rd_atomic = std::min(read_depth(device.attributes.max_qp_init_rd_atom), a.max_rd_atomic);
  }
  const int error = device.verbs.modify_qp(offer.qp, &a, mask);
  if (error != 0) fail("ibv_modify_qp as librdmacm has it", device.name(), error);
}

void CmConnector::State::take_event() {
  rdma_cm_event* event = nullptr;
  if (cm.get_cm_event(channel.get(), &event) != 0) return;
  Id refused(nullptr, cm.destroy_id);  // once the event is acknowledged
  {
    const std::lock_guard lock(mutex);
    if (event->event != RDMA_CM_EVENT_CONNECT_REQUEST) {
      note(*event);
    } else if (!answer(*event)) {
      cm.reject(event->id, nullptr, 0);
      refused.reset(event->id);
    }
    changed.notify_all();
  }
  cm.ack_cm_event(event);
}

// A request: false if it is for nobody here.
bool CmConnector::State::answer(const rdma_cm_event& event) {
  const rdma_conn_param& asked = event.param.conn;
  Wanted wanted;
  if (asked.private_data_len < sizeof(wanted) || !is_ours(event.id)) return false;
  std::memcpy(&wanted, asked.private_data, sizeof(wanted));
  const auto found = offers.find(wanted.qpn.value());
  if (found == offers.end() || found->second.id != nullptr) return false;
  Offer& offer = found->second;
  if (offer.awaited != 0 && offer.awaited != asked.qp_num) return false;
  rdma_conn_param p = parameters(offer);
  p.responder_resources = std::min(p.responder_resources, asked.responder_resources);
  p.initiator_depth = std::min(p.initiator_depth, asked.initiator_depth);
  try {
    advance(event.id, offer, IBV_QPS_RTR);
    advance(event.id, offer, IBV_QPS_RTS);
    if (cm.accept(event.id, &p) != 0) fail("rdma_accept", device.name(), errno);
  } catch (const std::exception& error) {
    offer.error = error.what();
    return false;
  }
  offer.asked_by = asked.qp_num;
  offer.id.reset(event.id);
  return true;
}

// Once there is a connection, its end says nothing that the queue pair will not show.
void CmConnector::State::note(const rdma_cm_event& event) {
  const auto found = std::find_if(offers.begin(), offers.end(), [&](const auto& entry) {
    return entry.second.id.get() == event.id;
  });
  if (found == offers.end() || found->second.established) return;
  Offer& offer = found->second;
  offer.news = event.event;
  offer.status = event.status;
  const bool answered = offer.asked_by != 0;
  offer.established = answered && event.event == RDMA_CM_EVENT_ESTABLISHED;
  if (answered && !offer.established) offer.error = "the connection failed while it was made";
}

CmConnector::CmConnector(const Device& device) : state_(std::make_unique<State>(device)) {}
CmConnector::~CmConnector() = default;

uint16_t CmConnector::port() const { return state_->port; }

void CmConnector::offer(ibv_qp* qp, uint32_t rnr_retries) {
  const std::lock_guard lock(state_->mutex);
  state_->offers.emplace(
      qp->qp_num,
      Offer{qp, rnr_retries, 0, 0, Id(nullptr, state_->cm.destroy_id), -1, 0, false, {}});
}

// An id is destroyed only when its events have been acknowledged, so not below the lock that our
// thread takes for them.
void CmConnector::withdraw(ibv_qp* qp) noexcept {
  Id id(nullptr, state_->cm.destroy_id);
  const std::lock_guard lock(state_->mutex);
  const auto offer = state_->offers.find(qp->qp_num);
  if (offer == state_->offers.end()) return;
  id = std::move(offer->second.id);
  state_->offers.erase(offer);
}

void CmConnector::connect(ibv_qp* qp, const QueuePairAddress& local, const QueuePairAddress& remote,
                          uint32_t peer) {
  const std::string rank = "rank " + std::to_string(peer);
  if (remote.cm_port == 0) {
    throw BackendError("connect: " + rank + " does not connect by librdmacm (RINGER_IB_CONNECT)");
  }
  std::unique_lock lock(state_->mutex);
  Offer& offer = state_->offers.at(qp->qp_num);
  if (asks(local, remote)) {
    return state_->ask(offer, remote, state_->device.name() + " to " + rank, lock);
  }
  offer.awaited = remote.qpn;
  if (offer.asked_by != 0 && offer.asked_by != remote.qpn) {
    throw BackendError("connect: another queue pair than that of " + rank + " has asked");
  }
}

bool CmConnector::connected(ibv_qp* qp) {
  const std::lock_guard lock(state_->mutex);
  const Offer& offer = state_->offers.at(qp->qp_num);
  if (!offer.error.empty()) throw BackendError("connect: " + offer.error);
  return offer.established;
}

void CmConnector::await(ibv_qp* qp, uint32_t peer) {
  std::unique_lock lock(state_->mutex);
  const Offer& offer = state_->offers.at(qp->qp_num);
  const auto decided = [&] { return offer.established || !offer.error.empty(); };
  const bool in_time = state_->changed.wait_for(lock, kPatience, decided);
  if (offer.established) return;
  throw BackendError("connect: rank " + std::to_string(peer) + " and " + state_->device.name() +
                     ": " + (in_time ? offer.error : "nobody has asked for the queue pair"));
}

}  // namespace ringer::verbs
