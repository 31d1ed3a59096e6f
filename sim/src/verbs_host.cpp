// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <thread>

#include <pthread.h>
#include <sched.h>

#include <ringer/control_plane.hpp>
#include <ringer/sim/fabric.hpp>
#include <ringer/sim/verbs_host.hpp>

#include "packet_links.hpp"
#include "wire_engine.hpp"

namespace ringer::sim {

namespace {

constexpr uint32_t kPacketBudget = 256;  // of a link, a turn
constexpr uint32_t kWqeBudget = 256;
constexpr uint32_t kTurnsPerLook = 256;

// How the NIC's thread waits when there is nothing to do. While the application drives the NIC
// itself the thread would only be in its way: it looks now and then, for an application that
// watches memory instead. Else it stays awake for a while after the last work, then sleeps until
// woken, or, since nobody tells of doorbells, for a short time, in the end a longer one.
constexpr uint32_t kYieldEvery = 16;
constexpr uint64_t kDrivenNapNs = 50'000;
constexpr uint64_t kAwakeNs = 50'000;
constexpr uint64_t kLongest = ~uint64_t{0};
struct Nap {
  uint64_t idle_ns;  // up to this long without work
  uint64_t nap_ns;
};
constexpr Nap kNaps[] = {{100'000'000, 20'000}, {2'000'000'000, 1'000'000}, {kLongest, 5'000'000}};

}  // namespace

struct VerbsHost::State {
  PacketLinks links;
  Fabric fabric;
  uint32_t nics;
  std::atomic<uint64_t> drives{0};
  uint64_t turns = 0;
  bool must_look = true;  // somebody has come, or gone
  uint64_t violations_told = 0;
  std::jthread thread;  // last: it uses what is above

  State(uint32_t count, const char* capture) : fabric(config(links)), nics(count) {
    if (capture != nullptr) links.capture_to(capture);
    for (uint32_t i = 0; i < nics; ++i) fabric.nic(i);
    // Signals are the application's.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    thread = std::jthread([this](const std::stop_token& stop) { run(stop); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  static NicConfig config(PacketLinks& links) {
    NicConfig config;
    config.links = &links;
    config.max_queue_pairs = 8;  // native ones: none
    return config;
  }

  bool turn() {
    if (++turns % kTurnsPerLook == 0 || must_look) {
      must_look = false;
      look_around();
    }
    const bool any = receive();
    return fabric.step_ungated(kWqeBudget) || any;
  }

  bool receive() {
    return links.receive(kPacketBudget, [this](const uint8_t* packet, uint32_t bytes) {
      PacketHead head;
      std::memcpy(&head, packet, sizeof(head));
      const uint32_t nic = (head.dlid - uint32_t{1}) / kMaxPorts;
      if (nic < nics) {
        fabric.nic_at(nic).take_packet(packet, bytes);
      } else {
        fabric.nic_at(0).refuse_packet(packet, bytes);
      }
    });
  }

  // What a process has sent before it ended lies in its ring, and counts: the last acknowledgement
  // of a peer that is done, too.
  void look_around() {
    std::vector<uint32_t> gone;
    links.look_around([&](uint32_t process) { gone.push_back(process); });
    if (gone.empty()) return;
    constexpr uint32_t kTurnsToEmptyRings = PacketRing::kBytes / kHeadBytes / kPacketBudget + 1;
    for (uint32_t i = 0; i < kTurnsToEmptyRings && receive(); ++i) {
    }
    for (const uint32_t process : gone) {
      for (uint32_t i = 0; i < nics; ++i) fabric.nic_at(i).forget_process(process);
    }
  }

  void run(const std::stop_token& stop) {
    const std::stop_callback wake_up(stop, [this] { links.wake(); });
    uint64_t driven = 0;
    uint64_t worked_ns = now_ns();
    while (!stop.stop_requested()) {
      bool waits = false;
      const bool any = fabric.gate().engine_turn([&] {
        const bool worked = turn();
        waits = awaited();
        return worked;
      });
      tell_violations();
      const uint64_t drives_now = drives.load(std::memory_order_relaxed);
      const uint64_t now = now_ns();
      if (any) {
        worked_ns = now;
      } else if (drives_now != driven && !waits) {
        sleep(kDrivenNapNs);
        worked_ns = now;
      } else if (now - worked_ns < kAwakeNs) {
        std::this_thread::yield();
      } else {
        nap(std::find_if(std::begin(kNaps), std::end(kNaps), [&](const Nap& nap) {
              return now - worked_ns <= nap.idle_ns;
            })->nap_ns);
      }
      driven = drives_now;
    }
  }

  // The application runs the engine while it polls, and leaves it to the thread when it sleeps
  // until an event: then packets must wake the thread.
  bool turn_for_application() {
    bool any = turn();
    if (!awaited()) return any;
    links.ask_to_be_woken();
    while (links.packets_waiting()) any = turn() || any;
    return any;
  }

  bool awaited() {
    bool any = false;
    for (uint32_t i = 0; i < nics; ++i) any = any || fabric.nic_at(i).awaited();
    return any;
  }

  void nap(uint64_t ns) {
    bool waiting = false;
    fabric.gate().engine_turn([&] {
      links.ask_to_be_woken();
      waiting = links.packets_waiting();
      return false;
    });
    if (!waiting) sleep(ns);
  }

  void sleep(uint64_t ns) {
    if (!links.sleep(ns)) return;
    fabric.gate().engine_turn([this] { return must_look = true; });
  }

  void tell_violations() {
    const uint64_t count = fabric.violation_count();
    if (count == violations_told) return;
    const std::vector<Violation> all = fabric.violations();
    for (uint64_t i = violations_told; i < all.size(); ++i) {
      std::fprintf(stderr, "ringer: %s\n", to_string(all[i]).c_str());
    }
    violations_told = count;
  }
};

VerbsHost::VerbsHost(uint32_t nics, const char* capture)
    : state_(std::make_unique<State>(nics, capture)) {}
VerbsHost::~VerbsHost() = default;

Nic& VerbsHost::nic(uint32_t number) {
  if (number >= state_->nics)
    throw BackendError("open device: no device " + std::to_string(number));
  return state_->fabric.nic(number);
}

void VerbsHost::drive() {
  State& s = *state_;
  s.drives.fetch_add(1, std::memory_order_relaxed);
  bool any = false;
  s.fabric.gate().try_engine_turn([&] { any = s.turn_for_application(); });
  // Whoever polls in vain for long may stand in the way of who would answer.
  thread_local uint32_t in_vain = 0;
  in_vain = any ? 0 : in_vain + 1;
  if (in_vain % kYieldEvery == kYieldEvery - 1) sched_yield();
}

void VerbsHost::abandon() {
  state_->links.abandon();
  state_->thread.detach();
  (void)state_.release();
}

}  // namespace ringer::sim
