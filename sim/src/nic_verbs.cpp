// SPDX-License-Identifier: Apache-2.0
// What a verbs front-end asks of the NIC.
#include <algorithm>
#include <atomic>
#include <bit>

#include <ringer/control_plane.hpp>
#include <ringer/sim/fabric.hpp>

#include "packet_links.hpp"
#include "wire_engine.hpp"

namespace ringer::sim {

namespace {

constexpr uint16_t kFirstWired = 0x40;  // of the process's part of a queue pair number
constexpr uint32_t kFirstRegister = 0x800 / 8;
constexpr uint32_t kRegisterStride = 0x100 / 8;
constexpr uint32_t kUarWords = 4096 / 8;
constexpr uint32_t kPortMtuBytes = 4096;  // of datagrams; a connection has agreed on one
constexpr uint64_t kDoorbellCheckNs = 100'000'000;
constexpr uint64_t kDoorbellMissingNs = 1'000'000'000;

template <class T>
void remove(std::vector<std::unique_ptr<T>>& all, const T* gone) {
  std::erase_if(all, [&](const auto& one) { return one.get() == gone; });
}

}  // namespace

uint32_t Nic::register_range(const MemoryRange& range) {
  const Gate::Control control(fabric_.gate());
  return keys_.add(range);
}

void Nic::change_range(uint32_t key, const MemoryRange& range) {
  const Gate::Control control(fabric_.gate());
  forget_key(key);
  keys_.change(key, range);
}

uint32_t Nic::allocate_window(uint32_t protection_domain) {
  const Gate::Control control(fabric_.gate());
  return keys_.add_window(protection_domain);
}

NicCompletionQueue* Nic::create_completion_queue(const CompletionRing& ring, uint32_t number,
                                                 NicEvents* events, void* cookie) {
  const Gate::Control control(fabric_.gate());
  auto queue = std::make_unique<NicCompletionQueue>();
  queue->ring = ring;
  queue->number = number;
  queue->events = events;
  queue->cookie = cookie;
  // Zeros would be an arm request.
  std::atomic_ref(ring.dbr[1].raw).store(NicCompletionQueue::kUnarmed, std::memory_order_relaxed);
  completion_queues_.push_back(std::move(queue));
  return completion_queues_.back().get();
}

// The CQE that says so has the index after the last one of the old ring; what follows goes to the
// new ring under its own indices.
void Nic::resize_completion_queue(NicCompletionQueue* queue, const CompletionRing& ring) {
  const Gate::Control control(fabric_.gate());
  const Be32 consumer{std::atomic_ref(queue->ring.dbr[mlx5::Wire::kCqDbrConsumer].raw)
                          .load(std::memory_order_acquire)};  // pairs with the poller's release
  const uint64_t unpolled = (queue->pi - consumer.value()) & 0xffffff;
  if (unpolled > ring.count || unpolled >= queue->ring.count) {
    throw BackendError("resize_cq: more completions wait than the new queue holds");
  }
  mlx5::Cqe& last = queue->slot(queue->pi);
  const mlx5::CqeTail tail{0, mlx5::CqeOpcode::resize_cq, (queue->pi & queue->ring.count) != 0};
  std::atomic_ref(last.tail.raw).store(tail.word().raw, std::memory_order_release);
  queue->ring = ring;
}

void Nic::destroy_completion_queue(NicCompletionQueue* queue) {
  const Gate::Control control(fabric_.gate());
  forget_messages_to(queue);
  remove(completion_queues_, queue);
}

NicReceiveQueue* Nic::create_receive_queue(const ReceiveRing& ring, uint32_t protection_domain,
                                           NicCompletionQueue* cq, uint32_t user_index,
                                           uint32_t xrc_domain, NicEvents* events, void* cookie) {
  const Gate::Control control(fabric_.gate());
  auto queue = std::make_unique<NicReceiveQueue>();
  queue->ring = ring;
  queue->number = ++last_receive_queue_ & 0xffffff;
  queue->protection_domain = protection_domain;
  queue->cq = cq;
  queue->user_index = user_index;
  queue->xrc_domain = xrc_domain;
  queue->events = events;
  queue->cookie = cookie;
  receive_queues_.push_back(std::move(queue));
  return receive_queues_.back().get();
}

uint32_t Nic::number_of(const NicReceiveQueue* queue) { return queue->number; }

void Nic::set_limit(NicReceiveQueue* queue, uint32_t limit) {
  const Gate::Control control(fabric_.gate());
  queue->limit = static_cast<uint16_t>(limit);
}

uint32_t Nic::limit_of(const NicReceiveQueue* queue) const {
  const Gate::Control control(fabric_.gate());
  return queue->limit;
}

void Nic::destroy_receive_queue(NicReceiveQueue* queue) {
  const Gate::Control control(fabric_.gate());
  if (queue->cq != nullptr) forget_messages_to(queue->cq);
  remove(receive_queues_, queue);
}

// An XRC target does not use what its messages go to: that may go first.
void Nic::forget_messages_to(const NicCompletionQueue* queue) {
  for (const auto& [qpn, qp] : wired_) {
    IncomingMessage& incoming = qp->wire->incoming;
    if (incoming.cq == queue) incoming.open = incoming.has_receive = false;
  }
}

void Nic::forget_key(uint32_t key) {
  NicExecutor executor(*this);
  WireEngine wire(*this, executor);
  wire.forget_key(key);
  for (const uint32_t window : keys_.unbind_windows_of(key)) wire.forget_key(window);
}

void Nic::refuse_packet(const uint8_t* packet, uint32_t bytes) {
  NicExecutor executor(*this);
  WireEngine(*this, executor).refuse_packet(packet, bytes);
}

void Nic::add_uar(UarPage* page) {
  const Gate::Control control(fabric_.gate());
  uars_.push_back({page, {}});
}

void Nic::remove_uar(UarPage* page) {
  const Gate::Control control(fabric_.gate());
  std::erase_if(uars_, [&](const Uar& uar) { return uar.page == page; });
}

NicQueuePair* Nic::find_wired(Qpn qpn) const {
  const auto found = wired_.find(qpn);
  return found == wired_.end() ? nullptr : found->second.get();
}

NicQueuePair& Nic::wired(Qpn qpn, const char* verb) const {
  NicQueuePair* qp = find_wired(qpn);
  if (qp == nullptr) {
    throw BackendError(std::string(verb) + ": nic " + std::to_string(id_) + " has no queue pair " +
                       std::to_string(qpn));
  }
  return *qp;
}

// The next free one, so that a late packet for a destroyed queue pair does not reach a new one.
Qpn Nic::next_wired_qpn() {
  const uint32_t process = config_.links->own_number();
  for (uint32_t tries = 0; tries < 0x10000; ++tries) {
    last_wired_ = static_cast<uint16_t>(last_wired_ + 1);
    if (last_wired_ < kFirstWired) last_wired_ = kFirstWired;
    const Qpn qpn = (process << 16) | last_wired_;
    if (wired_.count(qpn) == 0) return qpn;
  }
  throw BackendError("create_queue_pair: no number is left");
}

Qpn Nic::create_queue_pair(const VerbsQueuePairSetup& setup) {
  const Gate::Control control(fabric_.gate());
  if (config_.links == nullptr) throw BackendError("create_queue_pair: this NIC has no links");
  if (setup.sq_wqebbs != 0 &&
      (!std::has_single_bit(setup.sq_wqebbs) || setup.sq_wqebbs > config_.max_sq_wqebbs)) {
    throw BackendError("create_queue_pair: a send ring that the NIC does not take");
  }
  const ReceiveRing& receive = setup.receive;
  if (receive.count != 0 && (!std::has_single_bit(receive.count) || setup.receive_cq == nullptr ||
                             receive.stride > kMaxPieces * sizeof(mlx5::DataSeg))) {
    throw BackendError("create_queue_pair: a receive ring that the NIC does not take");
  }
  const Qpn qpn = next_wired_qpn();
  auto qp = std::make_unique<NicQueuePair>();
  qp->qpn = qpn;
  qp->rings.sq = setup.sq;
  qp->rings.sq_wqebbs = setup.sq_wqebbs;
  qp->rings.dbr = setup.dbr;
  qp->own_receive.ring = setup.receive;
  qp->own_receive.protection_domain = setup.protection_domain;
  if (setup.shared_receive != nullptr) qp->receive = setup.shared_receive;
  qp->send_cq = setup.send_cq;
  qp->receive_cq = setup.receive_cq;
  qp->protection_domain = setup.protection_domain;
  qp->wire = std::make_unique<WireQueuePair>();
  qp->wire->setup = setup;
  for (Uar& uar : uars_) {
    if (uar.page == setup.uar) uar.queue_pairs.push_back(qp.get());
  }
  wired_[qpn] = std::move(qp);
  return qpn;
}

void Nic::forget(NicQueuePair& qp) {
  std::erase(active_, &qp);
  std::erase(flushing_, &qp);
  std::erase(responding_, &qp);
  qp.active = false;
}

void Nic::destroy_wired(Qpn qpn) {
  NicQueuePair& qp = wired(qpn, "destroy_queue_pair");
  NicExecutor executor(*this);
  WireEngine(*this, executor).leave(qp);
  forget(qp);
  for (Uar& uar : uars_) std::erase(uar.queue_pairs, &qp);
  wired_.erase(qpn);
}

// Everything that a queue pair has done is forgotten.
void Nic::reset(NicQueuePair& qp) {
  NicExecutor executor(*this);
  WireEngine(*this, executor).leave(qp);
  forget(qp);
  qp.state = NicQueuePair::State::reset;
  qp.sq_pi = qp.sq_ci = qp.fetched = 0;
  qp.own_receive.taken = 0;
  qp.first_error = {};
  auto fresh = std::make_unique<WireQueuePair>();
  fresh->setup = qp.wire->setup;
  qp.wire = std::move(fresh);
}

void Nic::modify_queue_pair(Qpn qpn, const VerbsQueuePairAttributes& attributes) {
  const Gate::Control control(fabric_.gate());
  NicQueuePair& qp = wired(qpn, "modify_queue_pair");
  const QueuePairState before = qp.wire->attributes.state;
  const QueuePairState after = attributes.state;
  if (after == QueuePairState::reset) reset(qp);
  WireQueuePair& wire = *qp.wire;
  wire.attributes = attributes;
  if (wire.setup.transport == Transport::ud) wire.attributes.mtu_bytes = kPortMtuBytes;
  if (after == QueuePairState::error && before != QueuePairState::error) {
    NicExecutor(*this).enter_error(qp);
  }
  if (after == QueuePairState::rtr && before != after) wire.expected_psn = attributes.receive_psn;
  if (after == QueuePairState::rts && before == QueuePairState::rtr) {
    wire.next_psn = attributes.send_psn;
    wire.retries_left = attributes.retry_count;
    wire.rnr_retries_left = attributes.rnr_retry;
  }
  if (after >= QueuePairState::rtr && after < QueuePairState::error) {
    qp.state = NicQueuePair::State::ready;
  }
  if (after != QueuePairState::sqd) wire.drained = false;
  NicExecutor executor(*this);
  WireEngine(*this, executor).state_changed(qp);
  if (qp.sq_ci != qp.sq_pi) activate(qp);
}

QueuePairState Nic::state_of(Qpn qpn) const {
  const Gate::Control control(fabric_.gate());
  return wired(qpn, "state_of").wire->attributes.state;
}

Nic::NextPsns Nic::next_psns(Qpn qpn) const {
  const Gate::Control control(fabric_.gate());
  const WireQueuePair& wire = *wired(qpn, "next_psns").wire;
  return {wire.next_psn, wire.expected_psn};
}

void Nic::take_packet(const uint8_t* packet, uint32_t bytes) {
  if (!powered_) return;
  NicExecutor executor(*this);
  WireEngine(*this, executor).take_packet(packet, bytes);
}

bool Nic::awaited() const {
  return std::any_of(completion_queues_.begin(), completion_queues_.end(),
                     [](const auto& queue) { return queue->armed(); });
}

void Nic::forget_process(uint32_t process) {
  NicExecutor executor(*this);
  WireEngine(*this, executor).forget_process(process);
}

// Queue pairs share registers and write over each other's rings, so a ring says of the page only
// that somebody has rung: it authorises all queue pairs there, whose records say how far.
bool Nic::see_uars() {
  bool any = false;
  for (const Uar& uar : uars_) {
    bool rung = false;
    for (uint32_t word = kFirstRegister; word < kUarWords; word += kRegisterStride) {
      std::atomic_ref cell(uar.page->registers[word]);
      if (cell.load(std::memory_order_relaxed) == 0) continue;
      cell.exchange(0, std::memory_order_acquire);  // pairs with the poster's store
      rung = true;
    }
    if (!rung) continue;
    count(counters_.doorbells, 1);
    for (NicQueuePair* qp : uar.queue_pairs) see_record(*qp);
    any = true;
  }
  look_for_lost_doorbells();
  return any;
}

// After a reset the library clears the record when the NIC has forgotten all; until the queue pair
// may send, what stands there is nothing new.
void Nic::see_record(NicQueuePair& qp) {
  if (qp.rings.sq_wqebbs == 0 || qp.wire->attributes.state < QueuePairState::rts) return;
  const Be32 record{std::atomic_ref(qp.rings.dbr[mlx5::Wire::kDbrSend].raw)
                        .load(std::memory_order_acquire)};  // pairs with the poster's DBR store
  const auto ahead = static_cast<uint16_t>(record.value() - qp.sq_pi);
  qp.wire->unrung_since_ns = 0;
  if (ahead == 0) return;
  if (qp.sq_pi + ahead - qp.sq_ci > qp.rings.sq_wqebbs) {
    violations_.report({ViolationKind::producer_beyond_ring, id_, qp.qpn, qp.sq_pi,
                        "announced " + std::to_string(ahead) + " more with " +
                            std::to_string(qp.sq_pi - qp.sq_ci) + " outstanding in a ring of " +
                            std::to_string(qp.rings.sq_wqebbs)});
    NicExecutor(*this).fail(qp, mlx5::Syndrome::local_qp_operation);
    return;
  }
  qp.sq_pi += ahead;
  NicExecutor::prefetch(qp);
  activate(qp);
}

// Whoever writes the record rings soon. One that has not for a long time has lost his doorbell.
void Nic::look_for_lost_doorbells() {
  constexpr uint32_t kTurnsPerLook = 64;  // to ask for the time costs more than a turn
  if (++turns_ % kTurnsPerLook != 0) return;
  const uint64_t now = now_ns();
  if (now - doorbells_checked_ns_ < kDoorbellCheckNs) return;
  doorbells_checked_ns_ = now;
  for (const auto& [qpn, qp] : wired_) {
    if (qp->rings.sq_wqebbs == 0 || qp->state != NicQueuePair::State::ready) continue;
    const Be32 record{
        std::atomic_ref(qp->rings.dbr[mlx5::Wire::kDbrSend].raw).load(std::memory_order_relaxed)};
    uint64_t& since = qp->wire->unrung_since_ns;
    if (static_cast<uint16_t>(record.value()) == static_cast<uint16_t>(qp->sq_pi)) {
      since = 0;
    } else if (since == 0) {
      since = now;
    } else if (since != kReported && now - since > kDoorbellMissingNs) {
      since = kReported;
      violations_.report({ViolationKind::doorbell_missing, id_, qpn, qp->sq_pi,
                          "record " + std::to_string(record.value())});
    }
  }
}

}  // namespace ringer::sim
