// SPDX-License-Identifier: Apache-2.0
#include <cstring>
#include <stdexcept>

#include <ringer/channel.hpp>
#include <ringer/mlx5/wire.hpp>
#include <ringer/sim/explore/arrival_scenario.hpp>
#include <ringer/sim/explore/wqe_delivery.hpp>

#include "queue_memory.hpp"

namespace ringer::sim {

namespace {

constexpr uint32_t kRing = 16;
constexpr uint32_t kMaxPuts = 4;
constexpr uint32_t kPutBytes = 16;
constexpr uint8_t kPayload = 0x5a;

uint64_t address_of(const void* at) { return reinterpret_cast<uintptr_t>(at); }

}  // namespace

struct ArrivalProgram::World {
  void reset() {
    std::memset(static_cast<void*>(this), 0, sizeof(*this));
    queue.reset(kRing, CqMode::collapsed, 0);
  }

  QueueMemory<kRing> queue;
  uint64_t result;    // of an atomic, at the poster
  uint64_t sequence;  // of signals
  alignas(16) uint8_t source[kMaxPuts * kPutBytes];
  alignas(16) uint8_t target[kMaxPuts * kPutBytes];
  uint64_t flag;  // at the receiver
};

ArrivalProgram::ArrivalProgram(const ArrivalScenario& scenario)
    : scenario_(scenario), world_(std::make_unique<World>()) {
  if (scenario.puts == 0 || scenario.puts > kMaxPuts) {
    throw std::invalid_argument("an arrival scenario has 1 to 4 puts");
  }
  if (scenario.flag == FlagPolicy::flush && !scenario.mapped) {
    throw std::invalid_argument("a flush tells nobody but who has mapped the memory");
  }
  run_on(*world_);
  program_.scopes_required = true;
  program_.reset = [this] { world_->reset(); };
  program_.check = [] { return std::string(); };
  program_.max_locations = 16 + kRing;
  world_->reset();
  world_->queue.name(program_.names);
  program_.names.push_back({&world_->flag, 8, "flag"});
  program_.names.push_back({world_->source, sizeof(world_->source), "source"});
  program_.names.push_back({world_->target, sizeof(world_->target), "target"});
  program_.actors = {
      {"poster",
       {0, 0},
       [this](const SimPlatform& p) { scenario_.mapped ? post_mapped(p) : post(p); }},
      {"receiver", {1, 1}, [this](const SimPlatform& p) { receive(p); }}};
  if (scenario.mapped) return;
  program_.actors.push_back({"nic", {2, 2}, [this](const SimPlatform& p) { deliver(p); }});
}

ArrivalProgram::~ArrivalProgram() = default;

void ArrivalProgram::post(const SimPlatform& p) {
  World& w = *world_;
  Endpoint<SimPlatform> endpoint(p, w.queue.qp);
  const RemoteRef flag{address_of(&w.flag), 0};
  const LocalRef result{address_of(&w.result), 0};
  for (uint32_t i = 0; i < scenario_.puts; ++i) {
    const bool last = i + 1 == scenario_.puts;
    uint8_t* source = w.source + i * kPutBytes;
    p.write_data(source, kPutBytes);
    std::memset(source, kPayload, kPutBytes);
    endpoint.put({address_of(source), 0}, {address_of(w.target + i * kPutBytes), 0}, kPutBytes,
                 {false, false}, {});
    const bool tells = last || scenario_.flag == FlagPolicy::count;
    if (!tells) continue;
    if (scenario_.flag == FlagPolicy::strict_write) {
      endpoint.signal({flag, &w.sequence}, {false, last}, {});
    } else {
      endpoint.fetch_add(uint64_t{1}, result, flag, {false, last}, {});
    }
  }
}

void ArrivalProgram::post_mapped(const SimPlatform& p) {
  World& w = *world_;
  const ChannelPeer peer{Path::ipc, 0, 0, w.target, 0};
  ChannelTable table{};
  table.peers = &peer;
  table.window = w.source;
  Channel<SimPlatform, QueuePolicy<>> channel(p, table);
  const auto flag = static_cast<uint64_t>(reinterpret_cast<uint8_t*>(&w.flag) - w.target);
  for (uint32_t i = 0; i < scenario_.puts; ++i) {
    p.write_data(w.source + i * kPutBytes, kPutBytes);
    std::memset(w.source + i * kPutBytes, kPayload, kPutBytes);
    channel.put(0, 0, i * kPutBytes, i * kPutBytes, kPutBytes, {}, {});
    if (scenario_.flag == FlagPolicy::count) channel.add_flag(0, 0, flag, 1, {}, {});
  }
  if (scenario_.flag == FlagPolicy::strict_write) channel.put_flag(0, 0, flag, 1, {}, {});
  if (scenario_.flag == FlagPolicy::remote_atomic) channel.add_flag(0, 0, flag, 1, {}, {});
  if (scenario_.flag == FlagPolicy::flush) {
    channel.flush(0, 0, {});
    p.store<Scope::sys, Order::relaxed>(&w.flag, uint64_t{1});
  }
}

void ArrivalProgram::receive(const SimPlatform& p) {
  const uint64_t told = scenario_.flag == FlagPolicy::count ? scenario_.puts : 1;
  if (!wait_signal(p, &world_->flag, told, {}).ok()) p.fail("the signal failed");
  const uint32_t bytes = scenario_.puts * kPutBytes;
  p.read_data(world_->target, bytes);
  for (uint32_t i = 0; i < bytes; ++i) {
    if (world_->target[i] != kPayload) return p.fail("the flag is there before the payload");
  }
}

// One doorbell for all; the payload of each WQE, then what tells of it.
void ArrivalProgram::deliver(const SimPlatform& p) {
  World& w = *world_;
  const uint32_t wqes = scenario_.puts + (scenario_.flag == FlagPolicy::count ? scenario_.puts : 1);
  p.wait_until<Scope::sys, Order::acquire>(
      &w.queue.doorbell, [](uint64_t bell) { return bell != 0; }, {}, "doorbell");
  for (uint32_t i = 0; i < wqes; ++i) {
    const uint8_t* slot = w.queue.rings + i * kWqebbBytes;
    p.read_data(slot, 48);
    if (!deliver_wqe(p, slot, scenario_.reorders)) p.fail("an opcode that was not posted");
  }
}

}  // namespace ringer::sim
