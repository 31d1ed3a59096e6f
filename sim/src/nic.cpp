// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <bit>

#include <ringer/control_plane.hpp>
#include <ringer/sim/fabric.hpp>
#include <ringer/sim/nic.hpp>

#include "wire_engine.hpp"

namespace ringer::sim {

namespace {

std::string hex(uint64_t value) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text = "0x";
  for (int shift = 60; shift >= 0; shift -= 4) text += kDigits[(value >> shift) & 0xf];
  return text;
}

void require_power_of_two(uint32_t value, uint32_t max, const char* what) {
  if (!std::has_single_bit(value) || value > max) {
    throw BackendError(std::string("create_queue_pair: ") + what + " of " + std::to_string(value) +
                       " entries; the NIC takes powers of two up to " + std::to_string(max));
  }
}

constexpr uint32_t kRegistersPerLine = 8;

// How far `to` is ahead of `from` in 16-bit positions; negative if it is behind. A full ring of the
// deepest kind is exactly half way round and counts as ahead.
int distance(uint16_t from, uint16_t to) {
  const int ahead = static_cast<uint16_t>(to - from);
  return ahead <= static_cast<int>(mlx5::Wire::kMaxSqWqebbs) ? ahead : ahead - 0x10000;
}

}  // namespace

Nic::~Nic() = default;

Nic::Nic(Fabric& fabric, uint32_t id, const NicConfig& config)
    : fabric_(fabric), id_(id), config_(config) {
  if (config.max_queue_pairs == 0 || config.max_queue_pairs > kMaxSlots) {
    throw BackendError("open_nic: max_queue_pairs must be 1 to " + std::to_string(kMaxSlots));
  }
  const size_t lines = (size_t{config.max_queue_pairs} + kRegistersPerLine - 1) / kRegistersPerLine;
  doorbells_ = KernelArray<uint64_t>(*config.memory, lines * kRegistersPerLine, MemoryUse::queue);
}

uint32_t Nic::register_memory(void* address, uint64_t bytes, uint32_t access) {
  const Gate::Control control(fabric_.gate());
  return keys_.add(
      {reinterpret_cast<uint64_t>(address), bytes, static_cast<uint8_t*>(address), access});
}

void Nic::deregister_memory(uint32_t key) {
  const Gate::Control control(fabric_.gate());
  forget_key(key);
  keys_.remove(key);
}

Qpn Nic::create_queue_pair(const QueuePairRings& rings) {
  const Gate::Control control(fabric_.gate());
  require_power_of_two(rings.sq_wqebbs, config_.max_sq_wqebbs, "send ring");
  require_power_of_two(rings.send_cq.count, 1u << 22, "send completion queue");
  if (rings.rq_wqes != 0) {
    require_power_of_two(rings.rq_wqes, 32768, "receive ring");
    require_power_of_two(rings.receive_cq.count, 1u << 22, "receive completion queue");
  }
  uint32_t slot = slots_used_;
  if (!free_slots_.empty()) {
    slot = free_slots_.back();
    free_slots_.pop_back();
  } else if (slots_used_ < config_.max_queue_pairs) {
    ++slots_used_;
    queue_pairs_.emplace_back();
    generations_.push_back(0);
  } else {
    throw BackendError("create_queue_pair: the NIC has no more than " +
                       std::to_string(config_.max_queue_pairs) + " queue pairs");
  }
  auto qp = std::make_unique<NicQueuePair>();
  qp->rings = rings;
  qp->qpn = (uint32_t{generations_[slot]} << 16) + kFirstQpn + slot;
  qp->sq_pi = qp->sq_ci = qp->fetched = rings.start_index;
  qp->own_send_cq.ring = rings.send_cq;
  qp->own_receive_cq.ring = rings.receive_cq;
  qp->own_receive.ring = {reinterpret_cast<uint8_t*>(rings.rq), rings.rq_wqes,
                          sizeof(mlx5::DataSeg), &rings.dbr[mlx5::Wire::kDbrReceive]};
  ++live_queue_pairs_;
  queue_pairs_[slot] = std::move(qp);
  return queue_pairs_[slot]->qpn;
}

NicQueuePair* Nic::find_queue_pair(Qpn qpn) const {
  const uint32_t slot = slot_of_qpn(qpn);
  if (slot >= slots_used_ || !queue_pairs_[slot] || queue_pairs_[slot]->qpn != qpn) return nullptr;
  return queue_pairs_[slot].get();
}

NicQueuePair& Nic::queue_pair(Qpn qpn, const char* verb) const {
  NicQueuePair* qp = find_queue_pair(qpn);
  if (qp == nullptr) {
    throw BackendError(std::string(verb) + ": nic " + std::to_string(id_) + " has no queue pair " +
                       std::to_string(qpn));
  }
  return *qp;
}

uint64_t* Nic::doorbell_of(Qpn qpn) {
  const Gate::Control control(fabric_.gate());
  queue_pair(qpn, "doorbell_of");
  return doorbells_.data() + slot_of_qpn(qpn);
}

void Nic::connect(Qpn qpn, Nic& remote, Qpn remote_qpn) {
  const Gate::Control control(fabric_.gate());
  NicQueuePair& qp = queue_pair(qpn, "connect");
  remote.queue_pair(remote_qpn, "connect");
  qp.remote = &remote;
  qp.remote_qpn = remote_qpn;
  qp.state = NicQueuePair::State::ready;
}

void Nic::destroy_queue_pair(Qpn qpn) {
  const Gate::Control control(fabric_.gate());
  if (find_wired(qpn) != nullptr) return destroy_wired(qpn);
  NicQueuePair& qp = queue_pair(qpn, "destroy_queue_pair");
  const uint32_t slot = slot_of_qpn(qpn);
  std::erase(active_, &qp);
  std::erase(flushing_, &qp);
  queue_pairs_[slot].reset();
  ++generations_[slot];
  std::atomic_ref(doorbells_.data()[slot]).store(0, std::memory_order_relaxed);
  free_slots_.push_back(slot);
  --live_queue_pairs_;
}

uint64_t Nic::executed(Qpn qpn) const {
  const Gate::Control control(fabric_.gate());
  return queue_pair(qpn, "executed").sq_ci;
}

uint32_t Nic::first_error(Qpn qpn, uint64_t* index) const {
  const Gate::Control control(fabric_.gate());
  const NicQueuePair& qp = queue_pair(qpn, "first_error");
  if (index != nullptr) *index = qp.first_error_index;
  return static_cast<uint32_t>(qp.first_error);
}

void Nic::power_off() {
  const Gate::Control control(fabric_.gate());
  powered_ = false;
}

bool Nic::step(uint32_t wqe_budget) {
  if (!powered_) return false;
  bool any = see_doorbells();
  NicExecutor executor(*this);
  WireEngine wire(*this, executor);
  if (config_.links != nullptr) any = see_uars() || any;
  any = wire.respond() || any;
  for (NicQueuePair* qp : flushing_) executor.flush_receives(*qp);
  uint32_t left = wqe_budget;
  for (size_t visits = active_.size(); visits > 0 && left > 0; --visits) {
    if (turn_ >= active_.size()) turn_ = 0;
    NicQueuePair& qp = *active_[turn_];
    const uint32_t budget = std::min(left, kTurnWqes);
    const uint32_t done = qp.wire ? wire.run(qp, budget) : executor.run(qp, budget);
    any = any || done > 0;
    left -= std::min(left, done);
    if (qp.sq_ci == qp.sq_pi) {
      qp.active = false;
      active_[turn_] = active_.back();
      active_.pop_back();
    } else {
      ++turn_;
    }
  }
  return any;
}

bool Nic::see_doorbells() {
  bool any = false;
  for (uint32_t first = 0; first < slots_used_; first += kRegistersPerLine) {
    uint64_t line = 0;
    for (uint32_t i = 0; i < kRegistersPerLine; ++i) {
      line |= std::atomic_ref(doorbells_.data()[first + i]).load(std::memory_order_relaxed);
    }
    if (line == 0) continue;
    for (uint32_t i = 0; i < kRegistersPerLine; ++i) {
      std::atomic_ref cell(doorbells_.data()[first + i]);
      if (cell.load(std::memory_order_relaxed) == 0) continue;
      // Emptying the register makes each ring an event; pairs with the poster's mmio_store.
      const uint64_t value = cell.exchange(0, std::memory_order_acquire);
      if (first + i < slots_used_ && queue_pairs_[first + i])
        see_doorbell(*queue_pairs_[first + i], value);
      any = true;
    }
  }
  return any;
}

// The doorbell authorises, the doorbell record says how far. Both are 16-bit positions, taken
// relative to what is authorised already; a negative distance is an older ring that we have
// overtaken.
void Nic::see_doorbell(NicQueuePair& qp, uint64_t value) {
  count(counters_.doorbells, 1);
  const uint32_t word0 = byteswap32(static_cast<uint32_t>(value));
  const uint32_t word1 = byteswap32(static_cast<uint32_t>(value >> 32));
  if (word1 >> 8 != qp.qpn) {
    violations_.report(
        {ViolationKind::doorbell_malformed, id_, qp.qpn, qp.sq_pi,
         "register written with " + hex(value) + ", queue pair " + std::to_string(word1 >> 8)});
    return;
  }
  // libmlx5 stores the first 8 bytes of the last WQE, which names that WQE and not the next index.
  const bool last_wqe_form = (word0 & 0xff) != 0 || (word1 & 0xff) != 0;
  const auto announced = static_cast<uint16_t>((word0 >> 8) + (last_wqe_form ? 1 : 0));
  const Be32 record{std::atomic_ref(qp.rings.dbr[mlx5::Wire::kDbrSend].raw)
                        .load(std::memory_order_acquire)};  // pairs with the poster's DBR release
  const auto position = static_cast<uint16_t>(record.value());
  const auto base = static_cast<uint16_t>(qp.sq_pi);
  const int bell_ahead = distance(base, announced);
  const int record_ahead = distance(base, position);

  if (!qp.rings.record_may_trail && (record_ahead < bell_ahead || record_ahead < 0)) {
    violations_.report(
        {ViolationKind::dbr_behind_doorbell, id_, qp.qpn, qp.sq_pi,
         "doorbell " + std::to_string(announced) + ", record " + std::to_string(position)});
  }
  const Be32 receive{
      std::atomic_ref(qp.rings.dbr[mlx5::Wire::kDbrReceive].raw).load(std::memory_order_relaxed)};
  if (qp.rings.rq_wqes == 0 && receive.raw != 0) {
    violations_.report(
        {ViolationKind::dbr_receive_slot_written, id_, qp.qpn, qp.sq_pi,
         "receive element is " + std::to_string(receive.value()) + " without a receive ring"});
  }
  const int ahead = std::max({bell_ahead, record_ahead, 0});
  if (qp.sq_pi + static_cast<uint64_t>(ahead) - qp.sq_ci > qp.rings.sq_wqebbs) {
    violations_.report({ViolationKind::producer_beyond_ring, id_, qp.qpn, qp.sq_pi,
                        "announced " + std::to_string(ahead) + " more with " +
                            std::to_string(qp.sq_pi - qp.sq_ci) + " outstanding in a ring of " +
                            std::to_string(qp.rings.sq_wqebbs)});
    NicExecutor(*this).fail(qp, mlx5::Syndrome::local_qp_operation);
    return;
  }
  qp.sq_pi += static_cast<uint64_t>(ahead);
  NicExecutor::prefetch(qp);
  if (qp.sq_ci != qp.sq_pi) activate(qp);
}

void Nic::activate(NicQueuePair& qp) {
  if (qp.active) return;
  qp.active = true;
  active_.push_back(&qp);
}

}  // namespace ringer::sim
