// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <optional>

#include <ringer/host_queue.hpp>
#include <ringer/soft/soft_backend.hpp>

namespace ringer::soft {

namespace {

using Wire = mlx5::Wire;

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
      : fabric_(fabric),
        nic_(nic),
        config_(config),
        memory_(config),
        view_(create()),
        receiver_(view_, receive_rings()) {
    if (memory_.host_reachable()) poster_.emplace(view_);
  }
  ~SoftQueuePair() override { nic_.destroy_queue_pair(view_.qpn); }
  SoftQueuePair(const SoftQueuePair&) = delete;
  SoftQueuePair& operator=(const SoftQueuePair&) = delete;

  QueuePairAddress address() const override { return {nic_.id(), view_.qpn, 0, 0, 0, {}}; }

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
    return poster_->post(requests);
  }

  uint64_t outstanding(Status& status) override {
    if (!memory_.host_reachable()) {
      const SqState heads = memory_.read_heads();
      status = make_status(static_cast<StatusCode>(heads.error.code));
      return heads.resv_head - nic_.executed(view_.qpn);
    }
    return poster_->outstanding(status);
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
    receiver_.post(buffer, bytes);
  }
  bool poll_receive(ReceiveCompletion& completion) override { return receiver_.poll(completion); }

  void abort() override {
    if (memory_.host_reachable()) {
      poster_->abort();
    } else if (memory_.read_heads().error.code == 0) {
      memory_.write_error({static_cast<uint32_t>(StatusCode::aborted), 1, 0, 0, 0});
    }
  }

 private:
  static sim::CompletionRing ring_of(mlx5::Cqe* cqes, uint32_t count, Be32* dbr) {
    return {reinterpret_cast<uint8_t*>(cqes), count, sizeof(mlx5::Cqe), dbr};
  }

  ReceiveRings receive_rings() const {
    return {reinterpret_cast<uint8_t*>(memory_.rq),
            config_.rq_wqes,
            sizeof(mlx5::DataSeg),
            &memory_.dbr[Wire::kDbrReceive],
            memory_.receive_cq,
            config_.rq_wqes,
            memory_.receive_cq_dbr};
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

  sim::Fabric& fabric_;
  sim::Nic& nic_;
  QueuePairConfig config_;
  QueueMemory memory_;
  DeviceQp view_;
  HostReceiver receiver_;
  std::optional<HostPoster> poster_;  // if the host reaches the heads
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
  // Within a process addresses are enough.
  std::unique_ptr<MemoryRegion> register_memory(void* address, size_t bytes, uint32_t rights,
                                                KernelMemory* /*memory*/) override {
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
