// SPDX-License-Identifier: Apache-2.0
// Small programs with one bug each, and the same without it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ringer/sim/explore/sim_platform.hpp>

namespace ringer::test {

/// What the small programs share. A ring of two slots, its heads, a doorbell with its two records,
/// a completion, flags and payload.
struct BugWorld {
  uint64_t resv_head, ready_head, prod_idx, cons_idx;
  uint64_t doorbell;
  uint64_t record[2];  ///< receive, send
  uint64_t cqe[2];
  uint64_t flag, flag2, sequence, word;
  uint64_t seen[4];  ///< what actors found
  alignas(16) uint8_t slot[2][16];
  alignas(16) uint8_t payload[2][16];
};

using BugBody = void (*)(const sim::SimPlatform& p, BugWorld& w, bool faulty);

struct BugActor {
  const char* name;
  sim::Place place;
  BugBody body;
};

struct Bug {
  const char* name;   ///< class of bug, then what went wrong
  const char* shows;  ///< how the failure begins
  std::vector<BugActor> actors;
};

const std::vector<Bug>& history();

class BugProgram : public sim::Scenario {
 public:
  BugProgram(const Bug& bug, bool faulty) {
    run_on(world_);
    program_.reset = [this] { world_ = {}; };
    program_.check = [] { return std::string(); };
    program_.max_steps = 200;
    for (const BugActor& actor : bug.actors) {
      program_.actors.push_back({actor.name, actor.place,
                                 [this, actor, faulty](auto p) { actor.body(p, world_, faulty); }});
    }
    const auto name = [this](const void* at, size_t bytes, const char* text) {
      program_.names.push_back({at, bytes, text});
    };
    name(&world_.resv_head, 8, "resv_head");
    name(&world_.ready_head, 8, "ready_head");
    name(&world_.prod_idx, 8, "prod_idx");
    name(&world_.cons_idx, 8, "cons_idx");
    name(&world_.doorbell, 8, "doorbell");
    name(world_.record, 16, "record");
    name(world_.cqe, 16, "cqe");
    name(&world_.flag, 8, "flag");
    name(&world_.flag2, 8, "flag2");
    name(&world_.sequence, 8, "sequence");
    name(&world_.word, 8, "word");
    name(world_.slot, sizeof(world_.slot), "slot");
    name(world_.payload, sizeof(world_.payload), "payload");
  }

 private:
  BugWorld world_{};
};

}  // namespace ringer::test
