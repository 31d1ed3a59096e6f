// SPDX-License-Identifier: Apache-2.0
#include "devx_queue_pair.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <vector>

#include <ringer/verbs/rc_connection.hpp>

#include "queue_memory.hpp"

namespace ringer::mlx5 {

namespace {

using prm::at;
using prm::kQpc;
using verbs::kHopLimit;
using verbs::kMinRnrTimer;
using Command = prm::Opcode;
namespace qpc = prm::qpc;

constexpr size_t kRecordBytes = 64;
constexpr uint32_t kReliableConnection = 0;  // qpc.st
constexpr uint32_t kPathMigrated = 3;        // qpc.pm_state: there is no alternative one
constexpr uint32_t kNoReceiveRing = 3;       // qpc.rq_type
constexpr uint32_t kLogReads = 4;            // outstanding READs and atomics, each way
constexpr uint32_t kLogMaxMessage = 30;

uint32_t log2_of(uint32_t value) { return static_cast<uint32_t>(std::countr_zero(value)); }

}  // namespace

DevxQueuePair::DevxQueuePair(std::shared_ptr<Device> device, const QueuePairConfig& config)
    : verbs::RingQueuePair(device, config), nic_(std::move(device)) {
  lay_out();
  register_.emplace(*nic_, memory_);
  view_.doorbell = register_->address();
  create_cq();
  create_qp();
  adopt_rings();
  enter_init();
}

// One block, so that one registration does: records, CQEs, send ring.
void DevxQueuePair::lay_out() {
  const uint32_t wqebbs = config_.sq_wqebbs;
  cq_at_ = kRecordBytes;
  sq_at_ = cq_at_ + size_t{wqebbs} * sizeof(Cqe);
  near_queue_ = nic_->queue_settings.queue_memory.value == QueueMemory::near;
  block_ = KernelArray<uint8_t>(memory_, sq_at_ + size_t{wqebbs} * kWqebbBytes,
                                near_queue_ ? MemoryUse::near_queue : MemoryUse::queue);
  Cqe unused{};
  unused.tail = kInvalidCqeTail;
  const std::vector<Cqe> cqes(wqebbs, unused);
  memory_.write(block_.data() + cq_at_, cqes.data(), cqes.size() * sizeof(Cqe));
  memory_of_queues_ = register_queue_memory(*nic_, memory_, block_.data(), block_.size());
  view_.sq_wqebbs = wqebbs;
  view_.cq_mode = config_.cq_mode;
  view_.cq_cqes = view_.cq_mode == CqMode::collapsed ? 1 : wqebbs;
  view_.sq = block_.data() + sq_at_;
  view_.cq = block_.data() + cq_at_;
  view_.dbr = reinterpret_cast<Be32*>(block_.data() + records_at_);
  view_.cq_dbr = view_.dbr + 2;
}

Owned<mlx5dv_devx_obj> DevxQueuePair::create(const void* command, size_t bytes, const char* name,
                                             uint32_t* number) {
  prm::Record<16> answer;
  mlx5dv_devx_obj* object =
      nic_->mlx5.create_object(nic_->context, command, bytes, answer.data(), answer.size());
  if (object == nullptr) {
    const int error = errno;
    fail(std::string(name) + " (status " + std::to_string(answer.get(prm::kStatus)) +
             ", syndrome " + std::to_string(answer.get(prm::kSyndrome)) + ")",
         nic_->name(), error);
  }
  *number = answer.get(prm::kNumber);
  return {object, nic_->mlx5.destroy_object};
}

// Collapsed, each completion overwrites CQE 0, and nobody counts how many there were.
void DevxQueuePair::create_cq() {
  uint32_t event_queue = 0;
  if (const int error = nic_->mlx5.query_eqn(nic_->context, 0, &event_queue); error != 0) {
    fail("mlx5dv_devx_query_eqn", nic_->name(), error);
  }
  constexpr size_t kBytes = 272;
  prm::Record<kBytes> command;
  const auto set = [&](auto field, auto value) {
    command.set(at(prm::create_cq::cqc, field), value);
  };
  const uint32_t umem = memory_of_queues_->umem_id;
  command.set(prm::kOpcode, static_cast<uint32_t>(Command::create_cq));
  set(prm::cqc::dbr_umem_valid, 1u);
  const uint32_t collapsed = view_.cq_mode == CqMode::collapsed ? 1 : 0;
  set(prm::cqc::cc, collapsed);
  set(prm::cqc::oi, collapsed);
  set(prm::cqc::dbr_umem_id, umem);
  set(prm::cqc::log_cq_size, log2_of(config_.sq_wqebbs));
  set(prm::cqc::uar_page, register_->page_id());
  set(prm::cqc::c_eqn, event_queue);
  set(prm::cqc::dbr_addr, records_at_ + 2 * sizeof(Be32));
  command.set(prm::create_cq::umem_valid, 1);
  command.set(prm::create_cq::umem_id, umem);
  command.set(prm::create_cq::umem_offset, cq_at_);
  cq_ = create(command.data(), command.size(), "CREATE_CQ", &cqn_);
}

void DevxQueuePair::create_qp() {
  constexpr size_t kBytes = 272;
  prm::Record<kBytes> command;
  const auto set = [&](auto field, auto value) { command.set(at(kQpc, field), value); };
  const uint32_t umem = memory_of_queues_->umem_id;
  command.set(prm::kOpcode, static_cast<uint32_t>(Command::create_qp));
  set(qpc::st, kReliableConnection);
  set(qpc::pm_state, kPathMigrated);
  set(qpc::pd, nic_->pd_number);
  set(qpc::uar_page, register_->page_id());
  set(qpc::cqn_snd, cqn_);
  set(qpc::cqn_rcv, cqn_);
  set(qpc::rq_type, kNoReceiveRing);
  set(qpc::log_sq_size, log2_of(config_.sq_wqebbs));
  set(qpc::dbr_umem_valid, 1u);
  set(qpc::dbr_umem_id, umem);
  set(qpc::dbr_addr, records_at_);
  command.set(prm::create_qp::umem_valid, 1);
  command.set(prm::create_qp::umem_id, umem);
  command.set(prm::create_qp::umem_offset, sq_at_);
  qp_ = create(command.data(), command.size(), "CREATE_QP", &view_.qpn);
}

DevxQueuePair::Modify DevxQueuePair::modification(Command opcode) const {
  Modify command;
  command.set(prm::kOpcode, static_cast<uint32_t>(opcode));
  command.set(prm::modify_qp::qpn, view_.qpn);
  return command;
}

void DevxQueuePair::modify(const Modify& command, const char* name) {
  prm::Record<16> answer;
  const int error = nic_->mlx5.modify_object(qp_.get(), command.data(), command.size(),
                                             answer.data(), answer.size());
  if (error == 0) return;
  fail(std::string(name) + " of queue pair " + std::to_string(view_.qpn) + " (syndrome " +
           std::to_string(answer.get(prm::kSyndrome)) + ")",
       nic_->name(), error);
}

void DevxQueuePair::enter_init() {
  Modify command = modification(Command::rst2init_qp);
  const auto set = [&](auto field, uint32_t value) { command.set(at(kQpc, field), value); };
  set(qpc::pm_state, kPathMigrated);
  set(qpc::vhca_port_num, nic_->choice.port);
  set(qpc::pkey_index, static_cast<uint32_t>(nic_->settings.pkey_index.value));
  set(qpc::rre, 1);
  set(qpc::rwe, 1);
  set(qpc::rae, 1);
  modify(command, "RST2INIT_QP");
}

void DevxQueuePair::enter_rtr(const QueuePairAddress& remote) {
  Modify command = modification(Command::init2rtr_qp);
  const auto set = [&](auto field, uint32_t value) { command.set(at(kQpc, field), value); };
  set(qpc::mtu, verbs::common_mtu(*nic_, remote));
  set(qpc::log_msg_max, kLogMaxMessage);
  set(qpc::remote_qpn, remote.qpn);
  set(qpc::log_rra_max, kLogReads);
  set(qpc::rre, 1);
  set(qpc::rwe, 1);
  set(qpc::rae, 1);
  set(qpc::min_rnr_nak, kMinRnrTimer);
  set(qpc::vhca_port_num, nic_->choice.port);
  set(qpc::rlid, remote.lid);
  set(qpc::sl, static_cast<uint32_t>(nic_->settings.service_level.value));
  if (nic_->is_ethernet()) set_ethernet_path(command, remote);
  modify(command, "INIT2RTR_QP");
}

// The kernel knows how to reach a GID; an address handle tells what it found out.
void DevxQueuePair::set_ethernet_path(Modify& command, const QueuePairAddress& remote) const {
  ibv_ah_attr attr{};
  attr.port_num = static_cast<uint8_t>(nic_->choice.port);
  attr.is_global = 1;
  attr.grh.hop_limit = kHopLimit;
  attr.grh.sgid_index = static_cast<uint8_t>(nic_->choice.gid_index);
  std::memcpy(attr.grh.dgid.raw, remote.gid, sizeof(remote.gid));
  const Owned<ibv_ah> handle(nic_->verbs.create_ah(nic_->pd, &attr), nic_->verbs.destroy_ah);
  if (handle.get() == nullptr) fail("ibv_create_ah", nic_->name(), errno);
  mlx5dv_ah inside{};
  mlx5dv_obj objects{};
  objects.ah = {handle.get(), &inside};
  if (const int error = nic_->mlx5.init_obj(&objects, MLX5DV_OBJ_AH); error != 0) {
    fail("mlx5dv_init_obj", nic_->name(), error);
  }
  const auto set = [&](auto field, uint32_t value) { command.set(at(kQpc, field), value); };
  const uint8_t* mac = inside.av->rmac;
  set(qpc::rmac_47_32, (uint32_t{mac[0]} << 8) | mac[1]);
  set(qpc::rmac_31_0,
      (uint32_t{mac[2]} << 24) | (uint32_t{mac[3]} << 16) | (uint32_t{mac[4]} << 8) | mac[5]);
  set(qpc::udp_sport, Be16{inside.av->rlid}.value());  // RoCE v2 has its port in the lid's place
  set(qpc::src_addr_index, static_cast<uint32_t>(nic_->choice.gid_index));
  set(qpc::hop_limit, kHopLimit);
  set(qpc::tclass, static_cast<uint32_t>(nic_->settings.traffic_class.value));
  set(qpc::eth_prio, static_cast<uint32_t>(nic_->settings.service_level.value));
  for (uint32_t i = 0; i < 4; ++i) {
    Be32 word;
    std::memcpy(&word, remote.gid + size_t{i} * 4, sizeof(word));
    command.set(at(kQpc + 32 * i, qpc::rgid), word.value());
  }
}

void DevxQueuePair::enter_rts() {
  Modify command = modification(Command::rtr2rts_qp);
  const auto set = [&](auto field, uint32_t value) { command.set(at(kQpc, field), value); };
  set(qpc::log_sra_max, kLogReads);
  set(qpc::ack_timeout, static_cast<uint32_t>(nic_->settings.timeout.value));
  set(qpc::retry_count, static_cast<uint32_t>(nic_->settings.retry_count.value));
  set(qpc::rnr_retry, std::min(config_.rnr_retries, 7u));
  modify(command, "RTR2RTS_QP");
}

void DevxQueuePair::connect(const QueuePairAddress& remote, uint32_t peer) {
  verbs::require_same_link(*nic_, remote, peer);
  enter_rtr(remote);
  enter_rts();
  connected_to(peer);
}

void DevxQueuePair::post_receive(const LocalRef&, uint32_t) {
  throw BackendError("post_receive: queue pair " + std::to_string(view_.qpn) +
                     " has no receive ring");
}

}  // namespace ringer::mlx5
