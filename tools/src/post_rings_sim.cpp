// SPDX-License-Identifier: Apache-2.0
#include <cstring>
#include <optional>
#include <vector>

#include <ringer/sim/fabric.hpp>
#include <ringer/soft/soft_backend.hpp>

#include "post_rings.hpp"
#include "random.hpp"

namespace ringer::tools {

namespace {

class SimRings : public PostRings {
 public:
  SimRings(KernelMemory& memory, const PostRingsConfig& config)
      : config_(config),
        warps_(uint64_t{config.shape.blocks} * config.shape.warps_per_block),
        stride_((uint64_t{config.bytes} + 63) / 64 * 64),
        fabric_({.memory = &memory}),
        backend_(fabric_),
        near_(backend_.open_nic(0)),
        far_(backend_.open_nic(1)),
        source_(memory, warps_ * stride_, MemoryUse::window),
        target_(memory, warps_ * stride_, MemoryUse::window),
        source_region_(near_->register_memory(source_.data(), source_.size(), access::all)),
        target_region_(far_->register_memory(target_.data(), target_.size(), access::all)),
        qps_(memory, config.shape.queue_pairs) {
    std::vector<DeviceQp> views;
    for (uint32_t q = 0; q < config.shape.queue_pairs; ++q) {
      QueuePairConfig pair;
      pair.sq_wqebbs = config.ring_wqebbs;
      pair.record_may_trail = config.policy.record == RecordOrder::trailing;
      pair.kernels = &memory;
      posting_.push_back(near_->create_queue_pair(pair));
      answering_.push_back(far_->create_queue_pair({64, CqMode::collapsed}));
      posting_.back()->connect(answering_.back()->address(), 1);
      answering_.back()->connect(posting_.back()->address(), 0);
      views.push_back(posting_.back()->device_view());
    }
    qps_.write(views);
    thread_.emplace(fabric_);
  }

  void prepare(p2p::PostArgs& args) override {
    content_.resize(source_.size());
    Random random(++launch_);
    for (uint8_t& byte : content_) byte = static_cast<uint8_t>(random.next());
    source_.write(content_);
    target_.write(std::vector<uint8_t>(target_.size()));
    wqes_before_ = wqes_so_far();
    args.qps = qps_.data();
    args.source = {reinterpret_cast<uint64_t>(source_.data()), source_region_->lkey()};
    args.target = {reinterpret_cast<uint64_t>(target_.data()), target_region_->rkey()};
    args.poster_stride = stride_;
    args.wqe_stride = 0;
  }

  uint64_t check(std::string& first) override {
    uint64_t wrong = 0;
    const auto expect = [&](bool good, const std::string& what) {
      if (!good && wrong++ == 0) first = what;
    };
    const sim::NicCounters& counters = fabric_.nic(0).counters();
    // Each poster's flush adds a NOP, unless another's has left it nothing to wait for.
    const uint64_t executed = wqes_so_far() - wqes_before_;
    const uint64_t posted = warps_ * config_.wqes;
    expect(executed >= posted && executed <= posted + warps_,
           "the NIC executed " + std::to_string(executed) + " WQEs of " + std::to_string(posted));
    expect(counters.error_cqes == 0, "the NIC reports errors");
    expect(fabric_.violation_count() == 0,
           fabric_.violation_count() == 0 ? "" : to_string(fabric_.violations().front()));
    std::vector<uint8_t> arrived(target_.size());
    target_.read(arrived);
    for (uint64_t w = 0; w < warps_; ++w) {
      const size_t at = w * stride_;
      expect(std::memcmp(arrived.data() + at, content_.data() + at, config_.bytes) == 0,
             "bytes of warp " + std::to_string(w));
    }
    return wrong;
  }

 private:
  uint64_t wqes_so_far() {
    const sim::NicCounters& counters = fabric_.nic(0).counters();
    const sim::Gate::Control control(fabric_.gate());  // a turn counts what it did at its end
    return counters.wqes;
  }

  PostRingsConfig config_;
  uint64_t warps_;
  uint64_t stride_;
  sim::Fabric fabric_;
  soft::SoftBackend backend_;
  std::unique_ptr<Nic> near_, far_;
  KernelArray<uint8_t> source_, target_;
  std::unique_ptr<MemoryRegion> source_region_, target_region_;
  KernelArray<DeviceQp> qps_;
  std::vector<std::unique_ptr<QueuePair>> posting_, answering_;
  std::vector<uint8_t> content_;
  uint64_t launch_ = 0;
  uint64_t wqes_before_ = 0;
  std::optional<sim::NicThread> thread_;  // ends before what it serves
};

}  // namespace

std::unique_ptr<PostRings> make_sim_rings(KernelMemory& memory, const PostRingsConfig& config) {
  return std::make_unique<SimRings>(memory, config);
}

}  // namespace ringer::tools
