// SPDX-License-Identifier: Apache-2.0
#include <stdexcept>

#include <ringer/endpoint.hpp>
#include <ringer/sim/explore/ring_scenario.hpp>

#include "queue_memory.hpp"
#include "ring_nic.hpp"

namespace ringer::sim {

namespace {

using Wire = mlx5::Wire;

/// As EverySignal, 0 for none.
struct SignalEvery {
  uint32_t wqes = 0;
  constexpr bool operator()(uint64_t index) const { return wqes != 0 && EverySignal{wqes}(index); }
};

template <Sharing kSharing, RecordOrder kRecord, RungBy kRungBy>
using PolicyOf = QueuePolicy<kSharing, Placement::host, AnyDoorbell, SignalEvery, kRecord, kRungBy>;

}  // namespace

/// What the actors share.
struct RingProgram::World {
  uint64_t sequence;  // of signals
  uint32_t ended;     // posters
  uint32_t done;
  QueueMemory<kMaxRing> queue;
};

namespace {

bool may_fail(const RingScenario& s) { return s.fails_at != 0 || s.host_fails; }

template <class Policy>
class Poster {
 public:
  Poster(const SimPlatform& p, const DeviceQp& qp, uint64_t* sequence, const RingScenario& scenario,
         uint32_t number)
      : p_(p),
        scenario_(scenario),
        sequence_(sequence),
        number_(number),
        endpoint_(p, qp, Policy{scenario.doorbell, {scenario.signal_every}}) {}

  void run() {
    uint32_t done = 0;
    while (done < scenario_.wqes && post_next(done)) {
      p_.forget();
    }
  }

 private:
  // What steps leave on the stack tells states apart: each has a frame of its own, which is gone
  // when the next one begins.
  [[gnu::noinline]] bool post_next(uint32_t& done) {
    const uint32_t count = std::min(scenario_.batch, scenario_.wqes - done);
    const bool rings = scenario_.ring_each || done + count == scenario_.wqes;
    const Posted posted = post(done, count, {false, rings});
    done += count;
    if (posted.status.ok() && may_fail(scenario_) && done == scenario_.wqes) {
      endpoint_.wait(posted.ticket, {});
    }
    if (!posted.status.ok() && !may_fail(scenario_)) p_.fail("a post failed");
    return posted.status.ok();
  }

  [[gnu::noinline]] Posted post(uint32_t done, uint32_t count, PostFlags flags) {
    const bool unrung = scenario_.mixed && number_ > 0;
    if (unrung) flags.ring = false;
    if (scenario_.signals || (unrung && number_ == 1))
      return endpoint_.signal({{0, 0}, sequence_}, flags, {});
    if (scenario_.whole_batch && endpoint_.queue().reserve(count, {}).status.ok()) {
      p_.fail("more is reserved at once than a waiting poster may");
    }
    return endpoint_.post_batch(count, flags, {}, [&](uint64_t i, const Wire::Head& head) {
      const auto sequence = static_cast<uint32_t>(done + i + 1);
      return Wire::make_write_value(head, ring_value(number_, sequence), {0, 0});
    });
  }

  const SimPlatform& p_;
  const RingScenario& scenario_;
  uint64_t* sequence_;
  uint32_t number_;
  Endpoint<SimPlatform, Policy> endpoint_;
};

// A host gives up a queue, or reads why it has failed.
template <class Policy>
void meet_error(const SimPlatform& p, const DeviceQp& qp, const RingScenario& scenario) {
  CompletionQueue<SimPlatform, Wire, Policy> completions(p, qp);
  if (scenario.host_fails) {
    completions.fail(make_status(StatusCode::aborted));
    return;
  }
  p.wait_until<Scope::sys, Order::relaxed>(
      &qp.state->error.code, [](uint32_t code) { return code != 0; }, {}, "an error");
  const Status status = completions.error_status();
  const uint64_t index = scenario.start_index + scenario.fails_at - 1;
  if (status.code != StatusCode::qp_error || status.syndrome != kSyndrome ||
      status.wqe_index != index) {
    p.fail("the error is not the one that the NIC has reported");
  }
}

void check_scenario(const RingScenario& s) {
  const auto power_of_two = [](uint32_t v) { return v != 0 && (v & (v - 1)) == 0; };
  if (s.posters == 0 || s.posters > kMaxPosters || s.wqes == 0 || s.batch == 0 ||
      !power_of_two(s.ring_wqebbs) || s.ring_wqebbs > kMaxRing || (s.signals && s.batch != 1)) {
    throw std::invalid_argument("no ring scenario: posters 1 to 8, ring a power of two up to 8");
  }
  if (s.sharing == Sharing::exclusive && s.posters != 1) {
    throw std::invalid_argument("an exclusive ring has one poster");
  }
  if (s.rung_by == RungBy::server && s.record == RecordOrder::trailing) {
    throw std::invalid_argument("a server's record cannot trail");
  }
}

}  // namespace

RingProgram::RingProgram(const RingScenario& scenario)
    : scenario_(scenario), world_(std::make_unique<World>()) {
  check_scenario(scenario);
  run_on(*world_);
  program_.scopes_required = true;
  program_.reset = [this] {
    world_->queue.reset(scenario_.ring_wqebbs, scenario_.cq_mode, scenario_.start_index);
    world_->sequence = kFirstSignal;
    world_->ended = world_->done = 0;
  };
  program_.max_steps = 1000 + 1000 * uint64_t{scenario.posters} * scenario.wqes;
  program_.max_locations = 12 + 2 * scenario.ring_wqebbs;
  program_.may_stop = may_fail(scenario);
  // A poster begins by a reservation.
  if (!scenario.mixed && scenario.posters > 1) program_.alike = scenario.posters;
  program_.check = [this]() -> std::string {
    const uint64_t end = scenario_.start_index + uint64_t{scenario_.posters} * scenario_.wqes;
    if (may_fail(scenario_)) {
      return world_->queue.state.error.code != 0 ? "" : "the error is lost";
    }
    if (world_->queue.state.prod_idx != end && !scenario_.mixed) return "prod_idx ends elsewhere";
    return {};
  };
  program_.reset();
  program_.memory_bytes = static_cast<size_t>(world_->queue.end() - program_.memory);
  world_->queue.name(program_.names);
  program_.names.push_back({&world_->done, 4, "done"});
  program_.names.push_back({&world_->ended, 4, "ended"});
  if (scenario.sharing == Sharing::exclusive) {
    build_shared<Sharing::exclusive>();
  } else if (scenario.sharing == Sharing::cta) {
    build_shared<Sharing::cta>();
  } else {
    build_shared<Sharing::gpu>();
  }
}

RingProgram::~RingProgram() = default;

template <Sharing kSharing>
void RingProgram::build_shared() {
  if (scenario_.record == RecordOrder::trailing) {
    build<PolicyOf<kSharing, RecordOrder::trailing, RungBy::poster>>();
  } else if (scenario_.rung_by == RungBy::server) {
    build<PolicyOf<kSharing, RecordOrder::before_doorbell, RungBy::server>>();
  } else {
    build<PolicyOf<kSharing, RecordOrder::before_doorbell, RungBy::poster>>();
  }
}

template <class Policy>
void RingProgram::build() {
  constexpr bool kServed = Policy::kRungBy == RungBy::server;
  World& world = *world_;
  const RingScenario& scenario = scenario_;
  for (uint32_t i = 0; i < scenario.posters; ++i) {
    const uint32_t cta = Policy::kSharing == Sharing::gpu ? i : 0;
    program_.actors.push_back(
        {"poster" + std::to_string(i), {0, cta}, [&, i](const SimPlatform& p) {
           Poster<Policy>(p, world.queue.qp, &world.sequence, scenario, i).run();
           if (!kServed) return;
           const uint32_t before = p.fetch_add<Scope::gpu, Order::acq_rel>(&world.ended, 1u);
           // pairs with serve(): acquire
           if (before + 1 == scenario.posters) p.store<Scope::gpu, Order::release>(&world.done, 1u);
         }});
  }
  if constexpr (kServed) {
    // Of the posters' block where their scope asks for that.
    const uint32_t cta = Policy::kSharing == Sharing::gpu ? kMaxPosters : 0;
    program_.actors.push_back({"server", {0, cta}, [&](const SimPlatform& p) {
                                 SendQueue<SimPlatform, Wire, Policy> queue(p, world.queue.qp);
                                 const Status status = queue.serve(&world.done, {});
                                 if (!status.ok() && !may_fail(scenario)) {
                                   p.fail("the server failed");
                                 }
                               }});
  }
  if (may_fail(scenario)) {
    program_.actors.push_back({"host", {2, kMaxPosters + 2}, [&](const SimPlatform& p) {
                                 meet_error<Policy>(p, world.queue.qp, scenario);
                               }});
  }
  program_.actors.push_back({"nic", {1, kMaxPosters + 1}, [&](const SimPlatform& p) {
                               SteppedNic(p, world.queue.qp, scenario).run();
                             }});
}

}  // namespace ringer::sim
