// SPDX-License-Identifier: Apache-2.0
#include <cstring>
#include <stdexcept>
#include <string>

#include <ringer/fifo.hpp>
#include <ringer/sim/explore/fifo_scenario.hpp>
#include <ringer/sim/explore/sim_platform.hpp>

namespace ringer::sim {

namespace {
constexpr uint32_t kMaxPushers = 4;
constexpr uint32_t kMaxDepth = 4;
}  // namespace

struct FifoProgram::World {
  FifoState state;
  FifoCommand commands[kMaxDepth];
  uint32_t stop;
  alignas(16) uint8_t payload[kMaxPushers][16];
};

FifoProgram::FifoProgram(const FifoScenario& scenario)
    : scenario_(scenario), world_(std::make_unique<World>()) {
  if (scenario.pushers == 0 || scenario.pushers > kMaxPushers || scenario.commands == 0 ||
      scenario.depth == 0 || scenario.depth > kMaxDepth ||
      (scenario.depth & (scenario.depth - 1)) != 0) {
    throw std::invalid_argument("no FIFO scenario: pushers 1 to 4, depth a power of two up to 4");
  }
  run_on(*world_);
  program_.scopes_required = true;
  program_.reset = [this] { std::memset(static_cast<void*>(world_.get()), 0, sizeof(World)); };
  program_.check = [] { return std::string(); };
  program_.may_stop = scenario.fails || scenario.aborts;
  const FifoState& s = world_->state;
  program_.names = {{&s.head, 8, "fifo.head"},
                    {&s.tail, 8, "fifo.tail"},
                    {&s.done, 8, "fifo.done"},
                    {&s.error, sizeof(s.error), "fifo.error"},
                    {world_->commands, sizeof(world_->commands), "fifo.commands"}};
  for (uint32_t i = 0; i < scenario.pushers; ++i) {
    program_.actors.push_back(
        {"pusher" + std::to_string(i), {0, i}, [this, i](const SimPlatform& p) { push(p, i); }});
  }
  program_.actors.push_back(
      {"proxy", {1, kMaxPushers}, [this](const SimPlatform& p) { serve(p); }});
}

FifoProgram::~FifoProgram() = default;

void FifoProgram::push(const SimPlatform& p, uint32_t pusher) {
  const DeviceFifo device{world_->commands, scenario_.depth, &world_->state};
  Fifo<SimPlatform> fifo(p, device);
  WaitLimit limit;
  limit.stop = &world_->stop;
  Status status;
  for (uint32_t i = 0; i < scenario_.commands && status.ok(); ++i) {
    p.write_data(world_->payload[pusher], 16);
    status = fifo.push(FifoOp::put, 0, pusher, i, i, i, limit);
    if (status.ok()) status = fifo.flush(limit);
  }
  if (!status.ok() && !program_.may_stop) p.fail("a push failed");
}

// As a proxy does: it records a failure, unless a pusher that gave up was first.
void FifoProgram::give_up(const SimPlatform& p) {
  FifoState& s = world_->state;
  if (p.exchange<Scope::sys, Order::relaxed>(&s.error.claimed, 1u) == 0) {
    p.write_data(&s.error_qpn, sizeof(s.error_qpn) + sizeof(s.error_peer));
    s.error_qpn = 1;
    // pairs with Fifo::error_status(): acquire
    p.store<Scope::sys, Order::release>(&s.error.code, static_cast<uint32_t>(StatusCode::aborted));
  } else {
    Fifo<SimPlatform>(p, {world_->commands, scenario_.depth, &s}).error_status();
  }
}

void FifoProgram::serve(const SimPlatform& p) {
  FifoState& s = world_->state;
  const uint64_t all = uint64_t{scenario_.pushers} * scenario_.commands;
  uint64_t next[kMaxPushers] = {};
  for (uint64_t ticket = 0; ticket < all; ++ticket) {
    if (scenario_.fails && ticket + 1 == all) {
      p.write_data(&s.error_qpn, sizeof(s.error_qpn) + sizeof(s.error_peer));
      s.error_qpn = 1;
      // pairs with Fifo::error_status(): acquire
      p.store<Scope::sys, Order::release>(&s.error.code,
                                          static_cast<uint32_t>(StatusCode::qp_error));
      return;
    }
    if (scenario_.aborts) {
      p.store<Scope::sys, Order::relaxed>(&world_->stop, 1u);
      return give_up(p);
    }
    FifoCommand& slot = world_->commands[ticket & (scenario_.depth - 1)];
    // pairs with Fifo::push(): release
    p.wait_until<Scope::sys, Order::acquire>(
        &slot.tag_op_queue,
        [&](uint64_t word) { return static_cast<uint32_t>(word) == FifoCommand::tag_of(ticket); },
        {}, "command");
    p.read_data(&slot, sizeof(slot));
    if (slot.peer >= scenario_.pushers || slot.payload != slot.remote_offset ||
        slot.payload != next[slot.peer]++) {
      return p.fail("a command is lost, twice taken or out of its pusher's order");
    }
    p.read_data(world_->payload[slot.peer], 16);
    p.store<Scope::sys, Order::release>(&s.tail, ticket + 1);  // pairs with the wait for credit
    p.store<Scope::sys, Order::release>(&s.done, ticket + 1);  // pairs with Fifo::flush(): acquire
  }
}

}  // namespace ringer::sim
