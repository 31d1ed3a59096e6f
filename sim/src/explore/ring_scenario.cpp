// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <stdexcept>

#include <ringer/endpoint.hpp>
#include <ringer/mlx5/wire.hpp>
#include <ringer/sim/explore/ring_scenario.hpp>

namespace ringer::sim {

namespace {

using Wire = mlx5::Wire;

constexpr uint32_t kMaxRing = 8;
constexpr uint32_t kMaxPosters = 8;
constexpr Qpn kQpn = 0x100;
constexpr uint32_t kFirstSequence = 1;

/// SimPlatform whose orders can be weakened, all of a kind at once.
class WeakenedPlatform : public SimPlatform {
 public:
  WeakenedPlatform(const SimPlatform& p, Weakening weakening)
      : SimPlatform(p), weakening_(weakening) {}

  template <Scope kScope, Order kOrder, class T>
  T load(const T* at) const {
    if (weakening_ == Weakening::relaxed_loads)
      return SimPlatform::load<kScope, Order::relaxed>(at);
    return SimPlatform::load<kScope, kOrder>(at);
  }
  template <Scope kScope, Order kOrder, class T>
  void store(T* at, T value) const {
    if (weakening_ == Weakening::relaxed_stores) {
      return SimPlatform::store<kScope, Order::relaxed>(at, value);
    }
    if (weakening_ == Weakening::narrow_stores) {
      return SimPlatform::store<Scope::cta, kOrder>(at, value);
    }
    SimPlatform::store<kScope, kOrder>(at, value);
  }
  template <Scope kScope, Order kOrder, class T>
  bool compare_exchange(T* at, T expected, T desired) const {
    if (weakening_ == Weakening::relaxed_updates) {
      return SimPlatform::compare_exchange<kScope, Order::relaxed>(at, expected, desired);
    }
    return SimPlatform::compare_exchange<kScope, kOrder>(at, expected, desired);
  }
  template <Scope kScope, Order kOrder, class T>
  T fetch_max(T* at, T value) const {
    if (weakening_ == Weakening::relaxed_updates) {
      return SimPlatform::fetch_max<kScope, Order::relaxed>(at, value);
    }
    return SimPlatform::fetch_max<kScope, kOrder>(at, value);
  }
  template <Scope kScope, Order kOrder>
  void fence() const {
    if (weakening_ == Weakening::no_fences) return;
    if (weakening_ == Weakening::narrow_fences) return SimPlatform::fence<Scope::gpu, kOrder>();
    SimPlatform::fence<kScope, kOrder>();
  }
  void mmio_store(uint64_t* doorbell, uint64_t value) const {
    SimPlatform::store<Scope::sys, Order::relaxed>(doorbell, value);
  }
  template <Scope kScope, Order kOrder, class T, class Predicate>
  WaitOutcome wait_until(const T* at, Predicate&& predicate, const WaitLimit& limit,
                         const char* site) const {
    if (weakening_ == Weakening::relaxed_loads) {
      return SimPlatform::wait_until<kScope, Order::relaxed>(at, predicate, limit, site);
    }
    return SimPlatform::wait_until<kScope, kOrder>(at, predicate, limit, site);
  }

 private:
  Weakening weakening_;
};

static_assert(Platform<WeakenedPlatform>);

/// The memory of one execution.
struct World {
  explicit World(const RingScenario& scenario) {
    reset_heads(state, scenario.start_index);
    dbr[Wire::kDbrSend] = Wire::dbr_value(scenario.start_index);
    cqe.tail = mlx5::kInvalidCqeTail;
    qp.layout_stamp = kDeviceQpStamp;
    qp.qpn = kQpn;
    qp.sq_wqebbs = scenario.ring_wqebbs;
    qp.cq_cqes = 1;
    qp.cq_mode = CqMode::collapsed;
    qp.sq = sq;
    qp.cq = &cqe;
    qp.dbr = dbr;
    qp.cq_dbr = cq_dbr;
    qp.doorbell = &doorbell;
    qp.state = &state;
    qp.range_ends = range_ends;
  }

  SqState state{};
  uint64_t range_ends[kMaxRing] = {};
  alignas(64) uint8_t sq[kMaxRing * kWqebbBytes] = {};
  alignas(64) mlx5::Cqe cqe{};
  Be32 dbr[2] = {};
  Be32 cq_dbr[2] = {};
  uint64_t doorbell = 0;
  DeviceQp qp{};
};

template <class Policy>
void post(const WeakenedPlatform& p, World& world, const RingScenario& scenario, uint32_t poster) {
  Endpoint<WeakenedPlatform, Policy> endpoint(p, world.qp);
  for (uint32_t i = 0; i < scenario.wqes; ++i) {
    const bool last = i + 1 == scenario.wqes;
    const PostFlags flags{scenario.signal_each, scenario.ring_each || last};
    const uint64_t value = (uint64_t{poster} << 32) | (kFirstSequence + i);
    if (!endpoint.put_inline(value, {0, 0}, flags, {}).status.ok()) p.fail("a post failed");
  }
}

/// A NIC without a memory of its own: looks at the doorbell, at the record, fetches, executes,
/// completes, one step at a time.
class SteppedNic {
 public:
  SteppedNic(const SimPlatform& p, World& world, const RingScenario& scenario)
      : p_(p),
        world_(world),
        scenario_(scenario),
        pi_(scenario.start_index),
        ci_(pi_),
        bell_(pi_) {}

  void run() {
    const uint64_t end = pi_ + uint64_t{scenario_.posters} * scenario_.wqes;
    while (ci_ < end) {
      see_doorbell();
      if (pi_ - ci_ > scenario_.ring_wqebbs) return p_.fail("announced beyond the ring");
      if (pi_ > end) return p_.fail("announced what nobody has posted");
      for (; ci_ < pi_; ++ci_) {
        if (!execute()) return;
      }
    }
  }

 private:
  static uint16_t announced(uint64_t bell) {
    return static_cast<uint16_t>(byteswap32(static_cast<uint32_t>(bell)) >> 8);
  }
  // How far a 16-bit position is ahead of an index; negative if it is behind.
  static int ahead(uint64_t index, uint16_t position) {
    return static_cast<int16_t>(static_cast<uint16_t>(position - static_cast<uint16_t>(index)));
  }

  void see_doorbell() {
    uint64_t bell = 0;
    p_.wait_until<Scope::sys, Order::acquire>(
        &world_.doorbell,
        [&](uint64_t now) {
          bell = now;
          return now != 0 && announced(now) != static_cast<uint16_t>(bell_);
        },
        {}, "doorbell");
    const int step = ahead(bell_, announced(bell));
    if (step < 0) return p_.fail("the doorbell went back");
    bell_ += static_cast<uint64_t>(step);
    const Be32 record{p_.load<Scope::sys, Order::acquire>(&world_.dbr[Wire::kDbrSend].raw)};
    const int beyond = ahead(bell_, static_cast<uint16_t>(record.value()));
    if (scenario_.record == RecordOrder::before_doorbell && beyond < 0) {
      return p_.fail("the record is behind the doorbell");
    }
    pi_ = std::max(pi_, beyond > 0 ? bell_ + static_cast<uint64_t>(beyond) : bell_);
  }

  bool execute() {
    const uint8_t* slot = world_.sq + slot_of(ci_, scenario_.ring_wqebbs) * kWqebbBytes;
    p_.read_data(slot, 48);
    mlx5::CtrlSeg ctrl;
    std::memcpy(&ctrl, slot, sizeof(ctrl));
    if (((ctrl.opmod_idx_opcode.value() >> 8) & 0xffff) != (ci_ & 0xffff)) {
      p_.fail("a fetched WQE is not the one that was published");
      return false;
    }
    uint64_t value;
    std::memcpy(&value, slot + 36, sizeof(value));
    const auto poster = static_cast<uint32_t>(value >> 32);
    if (poster >= scenario_.posters || static_cast<uint32_t>(value) != ++executed_[poster]) {
      p_.fail("a WQE is lost, twice executed or out of its poster's order");
      return false;
    }
    if ((ctrl.fm_ce_se & mlx5::ctrl_flag::cq_update) != 0) complete();
    return true;
  }

  void complete() {
    const mlx5::CqeTail tail{static_cast<uint16_t>(ci_), mlx5::CqeOpcode::requester, false};
    // pairs with the poller's acquire
    p_.store<Scope::sys, Order::release>(&world_.cqe.tail.raw, tail.word().raw);
  }

  const SimPlatform& p_;
  World& world_;
  const RingScenario& scenario_;
  uint64_t pi_;    // authorised
  uint64_t ci_;    // executed
  uint64_t bell_;  // rung
  uint32_t executed_[kMaxPosters] = {};
};

template <class Policy>
ExploreResult explore_with(Choices& choices, const RingScenario& scenario, bool reduce) {
  std::unique_ptr<World> world;
  const auto make = [&] {
    world = std::make_unique<World>(scenario);
    std::vector<ActorSpec> actors;
    for (uint32_t i = 0; i < scenario.posters; ++i) {
      const uint32_t cta = Policy::kSharing == Sharing::gpu ? i : 0;
      actors.push_back({"poster" + std::to_string(i), {0, cta}, [&, i](const SimPlatform& p) {
                          post<Policy>({p, scenario.weakening}, *world, scenario, i);
                        }});
    }
    actors.push_back({"nic", {1, kMaxPosters}, [&](const SimPlatform& p) {
                        p.name(world->sq, sizeof(world->sq), "qp0.sq");
                        SteppedNic(p, *world, scenario).run();
                      }});
    return actors;
  };
  const auto check = [&](MemoryModel& memory) -> std::string {
    const uint64_t end = scenario.start_index + uint64_t{scenario.posters} * scenario.wqes;
    if (memory.final_value(&world->state.prod_idx) != end) return "prod_idx ends elsewhere";
    return {};
  };
  return explore(choices, make, check, reduce);
}

template <Sharing kSharing, RecordOrder kRecord>
using PolicyOf = QueuePolicy<kSharing, Placement::host, TailDoorbell, TailSignal, kRecord>;

template <Sharing kSharing>
ExploreResult explore_shared(Choices& choices, const RingScenario& scenario, bool reduce) {
  if (scenario.record == RecordOrder::trailing) {
    return explore_with<PolicyOf<kSharing, RecordOrder::trailing>>(choices, scenario, reduce);
  }
  return explore_with<PolicyOf<kSharing, RecordOrder::before_doorbell>>(choices, scenario, reduce);
}

}  // namespace

ExploreResult explore_ring(Choices& choices, const RingScenario& scenario, bool reduce) {
  const uint32_t ring = scenario.ring_wqebbs;
  if (scenario.posters == 0 || scenario.posters > kMaxPosters || scenario.wqes == 0 || ring == 0 ||
      ring > kMaxRing || (ring & (ring - 1)) != 0 ||
      (scenario.sharing == Sharing::exclusive && scenario.posters != 1)) {
    throw std::invalid_argument("no ring scenario");
  }
  switch (scenario.sharing) {
    case Sharing::exclusive:
      return explore_shared<Sharing::exclusive>(choices, scenario, reduce);
    case Sharing::cta:
      return explore_shared<Sharing::cta>(choices, scenario, reduce);
    case Sharing::gpu:
      break;
  }
  return explore_shared<Sharing::gpu>(choices, scenario, reduce);
}

}  // namespace ringer::sim
