// SPDX-License-Identifier: Apache-2.0
#include <cstring>
#include <stdexcept>
#include <vector>

#include <ringer/mlx5/wire.hpp>

#include "post_rings.hpp"

namespace ringer::tools {

namespace {

using Wire = mlx5::Wire;

// Nothing is moved, so an address can say who posted: poster << 32 | number.
constexpr uint64_t kPosterStride = uint64_t{1} << 32;
constexpr LocalRef kSource{kPosterStride, 0x1111};
constexpr RemoteRef kTarget{kPosterStride, 0x2222};
constexpr Qpn kFirstQpn = 0x100;

struct alignas(64) Records {
  Be32 dbr[2];
  Be32 cq_dbr[2];
};
struct alignas(64) Register {
  uint64_t value;
};

class PlainRings : public PostRings {
 public:
  PlainRings(KernelMemory& memory, const PostRingsConfig& config)
      : config_(config),
        warps_(config.shape.blocks * config.shape.warps_per_block),
        count_(config.shape.queue_pairs) {
    const uint64_t posters = (warps_ + count_ - 1) / count_;
    if (posters * config.wqes > config.ring_wqebbs) {
      throw std::invalid_argument(std::to_string(posters) + " warps x " +
                                  std::to_string(config.wqes) + " WQEs do not fit into a ring of " +
                                  std::to_string(config.ring_wqebbs) +
                                  ", and without a NIC nothing frees it");
    }
    const bool gpu = config.policy.placement == Placement::gpu;
    const MemoryUse rings = gpu ? MemoryUse::kernel : MemoryUse::queue;
    states_ = {memory, count_};
    ends_ = {memory, size_t{count_} * config.ring_wqebbs};
    sq_ = {memory, size_t{count_} * ring_bytes(), rings};
    cqes_ = {memory, count_, rings};
    records_ = {memory, count_, rings};
    registers_ = {memory, count_, MemoryUse::queue};
    qps_ = {memory, count_};
    std::vector<mlx5::Cqe> fresh(count_);
    for (mlx5::Cqe& cqe : fresh) cqe.tail = mlx5::kInvalidCqeTail;
    cqes_.write(fresh);
    upload_views();
    before_.resize(count_);
    after_.resize(count_);
  }

  void prepare(p2p::PostArgs& args) override {
    // As if all of the last launch had completed.
    states_.read(before_);
    for (SqState& state : before_) state.cons_idx = state.resv_head;
    states_.write(before_);
    args.qps = qps_.data();
    args.source = kSource;
    args.target = kTarget;
    args.poster_stride = kPosterStride;
    args.wqe_stride = 1;
  }

  uint64_t check(std::string& first) override {
    std::vector<Records> records(count_);
    std::vector<Register> registers(count_);
    std::vector<uint8_t> ring(ring_bytes());
    states_.read(after_);
    records_.read(records);
    registers_.read(registers);
    uint64_t wrong = 0;
    const auto expect = [&](bool good, uint32_t q, const char* what) {
      if (good) return;
      if (wrong++ == 0) first = "queue pair " + std::to_string(q) + ": " + what;
    };
    for (uint32_t q = 0; q < count_; ++q) {
      const SqState& s = after_[q];
      const uint64_t end = before_[q].resv_head + posters_of(q) * config_.wqes;
      expect(s.resv_head == end, q, "resv_head");
      expect(s.ready_head == end, q, "ready_head");
      expect(s.prod_idx == end, q, "prod_idx");
      expect(s.error.code == 0, q, "error");
      expect(records[q].dbr[1].raw == Wire::dbr_value(end).raw, q, "send element of the record");
      expect(records[q].dbr[0].raw == 0, q, "receive element of the record");
      expect(registers[q].value == Wire::doorbell_value(end, kFirstQpn + q), q, "doorbell");
      sq_.read(ring, size_t{q} * ring_bytes());
      check_ring(q, end, ring, expect);
    }
    return wrong;
  }

 private:
  size_t ring_bytes() const { return size_t{config_.ring_wqebbs} * kWqebbBytes; }

  uint32_t queue_of(uint32_t warp) const {
    return config_.policy.sharing == Sharing::cta ? warp / config_.shape.warps_per_block
                                                  : warp % count_;
  }
  uint64_t posters_of(uint32_t queue) const {
    uint64_t posters = 0;
    for (uint32_t w = 0; w < warps_; ++w) posters += queue_of(w) == queue ? 1 : 0;
    return posters;
  }

  void upload_views() {
    std::vector<DeviceQp> views(count_);
    for (uint32_t q = 0; q < count_; ++q) {
      DeviceQp& view = views[q];
      view.layout_stamp = kDeviceQpStamp;
      view.qpn = kFirstQpn + q;
      view.sq_wqebbs = config_.ring_wqebbs;
      view.cq_cqes = 1;
      view.cq_mode = CqMode::collapsed;
      view.sq = sq_.data() + size_t{q} * ring_bytes();
      view.cq = cqes_.data() + q;
      view.dbr = records_.data()[q].dbr;
      view.cq_dbr = records_.data()[q].cq_dbr;
      view.doorbell = &registers_.data()[q].value;
      view.state = states_.data() + q;
      view.range_ends = ends_.data() + size_t{q} * config_.ring_wqebbs;
    }
    qps_.write(views);
  }

  // Each poster's WQEs are there once, in its order, and each is the one that the format builds for
  // its index.
  template <class Expect>
  void check_ring(uint32_t q, uint64_t end, const std::vector<uint8_t>& ring, Expect&& expect) {
    std::vector<uint32_t> seen(warps_);
    const uint64_t half = config_.ring_wqebbs / 2;
    for (uint64_t index = before_[q].resv_head; index < end; ++index) {
      const uint8_t* slot = ring.data() + slot_of(index, config_.ring_wqebbs) * kWqebbBytes;
      mlx5::RaddrSeg raddr;
      std::memcpy(&raddr, slot + 16, sizeof(raddr));
      const uint64_t address = raddr.raddr.value();
      const uint64_t poster = address / kPosterStride - 1;
      const auto number = static_cast<uint32_t>(address % kPosterStride);
      if (poster >= warps_ || queue_of(static_cast<uint32_t>(poster)) != q ||
          number != seen[poster]) {
        expect(false, q, "a WQE is lost, twice there or out of its poster's order");
        continue;
      }
      ++seen[poster];
      const bool signaled = number + 1 == config_.wqes || (index + 1) % half == 0;
      const Wire::Head head{index, kFirstQpn + q, Wire::signal_flags(signaled)};
      const Wire::Wqe wqe =
          Wire::make_write(head, {kSource.address + poster * kPosterStride, kSource.lkey},
                           {address, kTarget.rkey}, config_.bytes);
      expect(std::memcmp(slot, wqe.bytes, size_t{wqe.segments} * 16) == 0, q, "bytes of a WQE");
    }
  }

  PostRingsConfig config_;
  uint32_t warps_;
  uint32_t count_;
  KernelArray<SqState> states_;
  KernelArray<uint64_t> ends_;
  KernelArray<uint8_t> sq_;
  KernelArray<mlx5::Cqe> cqes_;
  KernelArray<Records> records_;
  KernelArray<Register> registers_;
  KernelArray<DeviceQp> qps_;
  std::vector<SqState> before_, after_;
};

}  // namespace

std::unique_ptr<PostRings> make_plain_rings(KernelMemory& memory, const PostRingsConfig& config) {
  return std::make_unique<PlainRings>(memory, config);
}

}  // namespace ringer::tools
