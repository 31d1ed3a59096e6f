// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <optional>

#include <ringer/endpoint.hpp>
#include <ringer/host_platform.hpp>
#include <ringer/soft/soft_backend.hpp>

namespace ringer::soft {

namespace {

using Wire = mlx5::Wire;
using HostPolicy = QueuePolicy<Sharing::exclusive, Placement::host>;

// Rings start out as noise, so that nothing works by finding zeros.
constexpr int kPoison = 0xa5;

/// Memory of one queue pair: heads where its posters are, the rest in one block that they share
/// with the NIC.
class QueueMemory {
 public:
  explicit QueueMemory(const QueuePairConfig& config)
      : memory_(config.kernels != nullptr ? *config.kernels : host_memory()),
        heads_(memory_, 1, MemoryUse::kernel),
        range_ends_(memory_, config.sq_wqebbs, MemoryUse::kernel) {
    const size_t cqes = config.cq_mode == CqMode::collapsed ? 1 : config.sq_wqebbs;
    const size_t sq_bytes = size_t{config.sq_wqebbs} * kWqebbBytes;
    const size_t rq_bytes = (size_t{config.rq_wqes} * sizeof(mlx5::DataSeg) + 63) / 64 * 64;
    const size_t bytes =
        kRecordsBytes + (cqes + config.rq_wqes) * sizeof(mlx5::Cqe) + rq_bytes + sq_bytes;
    block_ = KernelArray<uint8_t>(memory_, bytes, MemoryUse::queue);
    std::memset(block_.data() + kRecordsBytes, kPoison, bytes - kRecordsBytes);

    SqState fresh{};
    reset_heads(fresh, config.start_index);
    heads_.write({&fresh, 1});
    state = heads_.data();
    range_ends = range_ends_.data();
    uint8_t* at = block_.data();
    dbr = reinterpret_cast<Be32*>(at);
    dbr[Wire::kDbrSend] = Wire::dbr_value(config.start_index);
    cq_dbr = dbr + 2;
    receive_cq_dbr = dbr + 4;
    at += kRecordsBytes;
    cq = make_cqes(at, cqes);
    at += cqes * sizeof(mlx5::Cqe);
    receive_cq = make_cqes(at, config.rq_wqes);
    at += config.rq_wqes * sizeof(mlx5::Cqe);
    rq = reinterpret_cast<mlx5::DataSeg*>(at);
    sq = at + rq_bytes;
    cq_cqes = static_cast<uint32_t>(cqes);
  }

  /// True if the host may use the heads in place.
  bool host_reachable() const { return memory_.host_reachable(); }
  SqState read_heads() const {
    SqState heads;
    heads_.read({&heads, 1});
    return heads;
  }
  void write_error(const QueueError& error) { memory_.write(&state->error, &error, sizeof(error)); }

  SqState* state;
  uint64_t* range_ends;
  Be32* dbr;
  Be32* cq_dbr;
  Be32* receive_cq_dbr;
  mlx5::Cqe* cq;
  mlx5::Cqe* receive_cq;
  mlx5::DataSeg* rq;
  uint8_t* sq;
  uint32_t cq_cqes;

 private:
  static constexpr size_t kRecordsBytes = 64;

  static mlx5::Cqe* make_cqes(uint8_t* at, size_t count) {
    auto* cqes = reinterpret_cast<mlx5::Cqe*>(at);
    for (size_t i = 0; i < count; ++i) cqes[i].tail = mlx5::kInvalidCqeTail;
    return cqes;
  }

  KernelMemory& memory_;
  KernelArray<SqState> heads_;
  KernelArray<uint64_t> range_ends_;
  KernelArray<uint8_t> block_;
};

class SoftMemoryRegion : public MemoryRegion {
 public:
  SoftMemoryRegion(sim::Nic& nic, void* address, size_t bytes, uint32_t access)
      : nic_(nic), key_(nic.register_memory(address, bytes, access)) {}
  ~SoftMemoryRegion() override { nic_.deregister_memory(key_); }
  SoftMemoryRegion(const SoftMemoryRegion&) = delete;
  SoftMemoryRegion& operator=(const SoftMemoryRegion&) = delete;
  uint32_t lkey() const override { return key_; }
  uint32_t rkey() const override { return key_; }

 private:
  sim::Nic& nic_;
  uint32_t key_;
};

class SoftQueuePair : public QueuePair {
 public:
  SoftQueuePair(sim::Fabric& fabric, sim::Nic& nic, const QueuePairConfig& config)
      : fabric_(fabric), nic_(nic), config_(config), memory_(config), view_(create()) {
    if (memory_.host_reachable()) queue_.emplace(HostPlatform{}, view_);
  }
  ~SoftQueuePair() override { nic_.destroy_queue_pair(view_.qpn); }
  SoftQueuePair(const SoftQueuePair&) = delete;
  SoftQueuePair& operator=(const SoftQueuePair&) = delete;

  QueuePairAddress address() const override { return {nic_.id(), view_.qpn, 0}; }

  void connect(const QueuePairAddress& remote, uint32_t peer) override {
    nic_.connect(view_.qpn, fabric_.nic(static_cast<uint32_t>(remote.nic)), remote.qpn);
    view_.peer = peer;
    connected_ = true;
  }

  DeviceQp device_view() const override {
    if (!connected_)
      throw BackendError("device_view: queue pair " + std::to_string(view_.qpn) +
                         " is not connected");
    return view_;
  }

  PostOutcome post(std::span<const WorkRequest> requests) override {
    if (Status status = queue_->completions().poll(); !status.ok()) return {status, 0};
    const auto too_large = [](const WorkRequest& r) { return r.bytes > Wire::kMaxMessageBytes; };
    if (std::any_of(requests.begin(), requests.end(), too_large)) {
      return {make_status(StatusCode::invalid), 0};
    }
    const size_t count = std::min<size_t>(requests.size(), queue_->credit());
    size_t posted = 0;
    while (posted < count) {
      const auto n =
          static_cast<uint32_t>(std::min<size_t>(count - posted, queue_->max_reservation()));
      const Reserved reserved = queue_->try_reserve(n);
      if (!reserved.status.ok()) return {reserved.status, posted};
      for (uint32_t i = 0; i < n; ++i) {
        const uint64_t index = reserved.range.base + i;
        const bool last = posted + i + 1 == count;
        queue_->write(index, build(requests[posted + i], index, last));
      }
      posted += n;
      queue_->publish(reserved.range, posted == count, {});  // exclusive: never waits
    }
    return {make_status(posted < requests.size() ? StatusCode::no_credit : StatusCode::ok), posted};
  }

  uint64_t outstanding(Status& status) override {
    if (!memory_.host_reachable()) {
      const SqState heads = memory_.read_heads();
      status = make_status(static_cast<StatusCode>(heads.error.code));
      return heads.resv_head - nic_.executed(view_.qpn);
    }
    status = queue_->completions().poll();
    return queue_->resv_head() - queue_->completions().cons_idx();
  }

  Status first_error() const override {
    Status status;
    status.syndrome = nic_.first_error(view_.qpn, &status.wqe_index);
    if (status.syndrome == 0) return {};
    status.code = StatusCode::qp_error;
    status.qpn = view_.qpn;
    status.peer = view_.peer;
    return status;
  }

  void post_receive(const LocalRef& buffer, uint32_t bytes) override {
    if (receive_posted_ - receive_taken_ >= config_.rq_wqes) {
      throw BackendError("post_receive: the receive ring of " + std::to_string(config_.rq_wqes) +
                         " is full");
    }
    memory_.rq[slot_of(receive_posted_, config_.rq_wqes)] = mlx5::make_data(buffer, bytes);
    ++receive_posted_;
    // pairs with the NIC's read of the receive element
    HostPlatform{}.store<Scope::sys, Order::release>(&memory_.dbr[Wire::kDbrReceive].raw,
                                                     Wire::dbr_value(receive_posted_).raw);
  }

  bool poll_receive(ReceiveCompletion& completion) override {
    if (config_.rq_wqes == 0) return false;
    const mlx5::Cqe& cqe = memory_.receive_cq[slot_of(receive_taken_, config_.rq_wqes)];
    // pairs with the NIC's CQE write
    const auto tail =
        mlx5::CqeTail::of({HostPlatform{}.load<Scope::sys, Order::acquire>(&cqe.tail.raw)});
    const bool lap = (receive_taken_ & config_.rq_wqes) != 0;
    if (tail.opcode == mlx5::CqeOpcode::invalid || tail.owner != lap) return false;
    completion = {
        {}, recover_index(receive_taken_, tail.wqe_counter), cqe.byte_cnt.value(), cqe.imm.value()};
    if (tail.is_error()) {
      completion.status = {StatusCode::qp_error, mlx5::syndrome_of(cqe.error_word), view_.qpn,
                           view_.peer, completion.index};
    }
    ++receive_taken_;
    HostPlatform{}.store<Scope::sys, Order::release>(  // room for the NIC
        &memory_.receive_cq_dbr[Wire::kCqDbrConsumer].raw, Wire::cq_dbr_value(receive_taken_).raw);
    return true;
  }

  void abort() override {
    if (memory_.host_reachable()) {
      queue_->completions().fail(make_status(StatusCode::aborted));
    } else if (memory_.read_heads().error.code == 0) {
      memory_.write_error({static_cast<uint32_t>(StatusCode::aborted), 1, 0, 0, 0});
    }
  }

 private:
  static sim::CompletionRing ring_of(mlx5::Cqe* cqes, uint32_t count, Be32* dbr) {
    return {reinterpret_cast<uint8_t*>(cqes), count, sizeof(mlx5::Cqe), dbr};
  }

  DeviceQp create() {
    const bool collapsed = config_.cq_mode == CqMode::collapsed;
    sim::QueuePairRings rings;
    rings.sq = memory_.sq;
    rings.sq_wqebbs = config_.sq_wqebbs;
    rings.rq = memory_.rq;
    rings.rq_wqes = config_.rq_wqes;
    rings.dbr = memory_.dbr;
    rings.send_cq = ring_of(memory_.cq, memory_.cq_cqes, memory_.cq_dbr);
    rings.send_cq.collapsed = rings.send_cq.overrun_ignored = collapsed;
    rings.receive_cq = ring_of(memory_.receive_cq, config_.rq_wqes, memory_.receive_cq_dbr);
    rings.start_index = config_.start_index;
    rings.rnr_retries = config_.rnr_retries;
    rings.record_may_trail = config_.record_may_trail;

    DeviceQp view{};
    view.layout_stamp = kDeviceQpStamp;
    view.qpn = nic_.create_queue_pair(rings);
    view.peer = kNoPeer;
    view.sq_wqebbs = config_.sq_wqebbs;
    view.cq_cqes = memory_.cq_cqes;
    view.cq_mode = config_.cq_mode;
    view.sq = memory_.sq;
    view.cq = memory_.cq;
    view.dbr = memory_.dbr;
    view.cq_dbr = memory_.cq_dbr;
    view.doorbell = nic_.doorbell_of(view.qpn);
    view.state = memory_.state;
    view.range_ends = memory_.range_ends;
    return view;
  }

  Wire::Wqe build(const WorkRequest& r, uint64_t index, bool last) const {
    const Wire::Head head{index, view_.qpn, Wire::signal_flags(queue_->must_signal(index, last))};
    switch (r.kind) {
      case WorkRequest::Kind::put:
        return Wire::make_write(head, r.local, r.remote, r.bytes);
      case WorkRequest::Kind::put_value:
        return Wire::make_write_value(head, r.value, r.remote);
      case WorkRequest::Kind::add_value:
        return Wire::make_fetch_add(head, r.value, r.local, r.remote);
    }
    return Wire::make_nop(head);
  }

  sim::Fabric& fabric_;
  sim::Nic& nic_;
  QueuePairConfig config_;
  QueueMemory memory_;
  DeviceQp view_;
  std::optional<SendQueue<HostPlatform, Wire, HostPolicy>> queue_;  // if the host reaches the heads
  uint64_t receive_posted_ = 0;
  uint64_t receive_taken_ = 0;
  bool connected_ = false;
};

class SoftNic : public Nic {
 public:
  SoftNic(sim::Fabric& fabric, uint32_t rank) : fabric_(fabric), nic_(fabric.nic(rank)) {}

  NicCaps caps() const override {
    const sim::NicConfig& config = nic_.config();
    return {"sim" + std::to_string(nic_.id()),
            config.max_queue_pairs - nic_.queue_pairs(),
            config.max_sq_wqebbs,
            true,
            config.atomics,
            true};
  }
  std::unique_ptr<MemoryRegion> register_memory(void* address, size_t bytes,
                                                uint32_t rights) override {
    return std::make_unique<SoftMemoryRegion>(nic_, address, bytes, rights);
  }
  std::unique_ptr<QueuePair> create_queue_pair(const QueuePairConfig& config) override {
    if (config.sq_wqebbs == 0 || config.sq_wqebbs > nic_.config().max_sq_wqebbs ||
        (config.sq_wqebbs & (config.sq_wqebbs - 1)) != 0) {
      throw BackendError("create_queue_pair: a send ring of " + std::to_string(config.sq_wqebbs) +
                         " WQEBBs; " + caps().name + " takes powers of two up to " +
                         std::to_string(nic_.config().max_sq_wqebbs));
    }
    return std::make_unique<SoftQueuePair>(fabric_, nic_, config);
  }

 private:
  sim::Fabric& fabric_;
  sim::Nic& nic_;
};

}  // namespace

std::unique_ptr<Nic> SoftBackend::open_nic(uint32_t rank) {
  return std::make_unique<SoftNic>(fabric_, rank);
}

}  // namespace ringer::soft
