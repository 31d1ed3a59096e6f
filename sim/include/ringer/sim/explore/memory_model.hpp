// SPDX-License-Identifier: Apache-2.0
// Shared memory as GPU threads, host and NIC see it: which store a load may return, and what an
// actor has seen. An operational form of the scoped release/acquire model of PTX 7.5 and C++20:
// Each location has one order of its stores; a store may slip in anywhere behind what its writer
// has seen of that location, and a load may return anything from there on. A release at a scope
// publishes what its actor has seen to those in the scope; an acquire whose scope includes the
// writer takes it over, and what was taken over is published in turn. Read-modify-writes follow
// directly upon what they have read and carry its release on. Not modelled: load buffering and
// values out of thin air (a load never returns a store that is still to come), fences of sequential
// consistency, accesses of mixed sizes.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include <ringer/memory_order.hpp>
#include <ringer/sim/explore/choices.hpp>

namespace ringer::sim {

/// Where an actor runs: who shares a scope with it. A NIC or a host thread shares no block and no
/// GPU with anybody: give it a number of its own.
struct Place {
  uint32_t gpu = 0;
  uint32_t cta = 0;  ///< block, counted over all GPUs
};

class MemoryModel {
 public:
  struct ActorFacts {
    std::string name;
    Place place;
  };
  MemoryModel(Choices& choices, const std::vector<ActorFacts>& actors);

  /// What reports call the memory at `at`.
  void name(const void* at, size_t bytes, const std::string& text) {
    names_.push_back({reinterpret_cast<uintptr_t>(at), bytes, text});
  }

  /// Each returns the value read. The first access to a word tells its value before all stores.
  uint64_t load(uint32_t actor, const void* at, uint64_t initial, Scope scope, Order order);
  void store(uint32_t actor, void* at, uint64_t initial, uint64_t value, Scope scope, Order order);
  /// `update` returns whether it stores, and what. A load that stores nothing is relaxed.
  struct Updated {
    bool stores;
    uint64_t value;
  };
  uint64_t update(uint32_t actor, void* at, uint64_t initial, Scope scope, Order order,
                  const std::function<Updated(uint64_t)>& update);
  void fence(uint32_t actor, Scope scope, Order order);

  /// Plain accesses in 16-byte cells. A conflicting pair of which neither happens before the other
  /// is a race: `race()` then says who and where.
  void write_data(uint32_t actor, const void* at, uint32_t bytes);
  void read_data(uint32_t actor, const void* at, uint32_t bytes);
  const std::string& race() const { return race_; }

  /// Whether there is a store to the word at `at` that is newer than what `actor` has seen of it.
  bool has_newer(uint32_t actor, const void* at) const;
  /// Then: from now on `actor` sees nothing as old as that of it.
  void skip_one(uint32_t actor, const void* at);

  /// What the last store in a location's order has left there.
  uint64_t final_value(const void* at) const;

 private:
  static constexpr uint32_t kLevels = 3;  // of kinship: same block, same GPU, neither

  /// What an actor knows: the store it has seen last of each location, and how far it knows of each
  /// other actor's past.
  struct View {
    std::vector<uint32_t> seen;   // by location: id of a store
    std::vector<uint32_t> clock;  // by actor
  };
  struct Store {
    uint64_t value = 0;
    uint32_t writer = 0;
    uint32_t rank = 0;          // place in the location's order
    bool follows_read = false;  // of a read-modify-write: nothing may come in between
    std::array<bool, kLevels> released{};
    std::array<View, kLevels> message;  // to readers of that kinship
  };
  struct Location {
    const void* at;
    std::vector<Store> stores;    // by id
    std::vector<uint32_t> order;  // ids
  };
  struct Actor {
    std::string name;
    Place place;
    View view;
    std::array<View, kLevels> released;  // by the last release fence that reaches so far
    std::array<View, kLevels> pending;   // read relaxed: an acquire fence that reaches takes it
  };
  struct Cell {
    uint32_t writer = 0;
    uint32_t written = 0;         // the writer's clock; 0: never
    std::vector<uint32_t> reads;  // clocks, by actor
  };

  uint32_t location_of(const void* at, uint64_t initial);
  uint32_t kinship(uint32_t a, uint32_t b) const;
  static bool reaches(Scope scope, uint32_t kinship) {
    return static_cast<uint32_t>(scope) >= kinship;
  }
  static bool acquires(Order order) { return order == Order::acquire || order == Order::acq_rel; }
  static bool releases(Order order) { return order == Order::release || order == Order::acq_rel; }
  void join(View& into, const View& from) const;
  uint32_t seen_rank(const View& view, uint32_t location) const;
  void take(uint32_t actor, uint32_t location, uint32_t store, Scope scope, bool acquire);
  uint32_t insert(uint32_t actor, uint32_t location, uint32_t rank, uint64_t value, Scope scope,
                  bool release, const Store* read);
  bool known(const Actor& actor, uint32_t other, uint32_t clock) const {
    return clock == 0 || actor.view.clock[other] >= clock;
  }
  template <class F>
  void for_each_cell(const void* at, uint32_t bytes, F&& f);
  void report(uint32_t actor, uint32_t other, uint64_t cell, const char* what);
  std::string name_of(uintptr_t at) const;

  Choices& choices_;
  std::vector<Actor> actors_;
  std::vector<Location> locations_;
  std::unordered_map<const void*, uint32_t> index_;
  std::unordered_map<uint64_t, Cell> cells_;
  struct Region {
    uintptr_t at;
    size_t bytes;
    std::string text;
  };
  std::vector<Region> names_;
  std::string race_;
};

}  // namespace ringer::sim
