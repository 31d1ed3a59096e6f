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
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include <ringer/memory_order.hpp>
#include <ringer/sim/explore/memory_use.hpp>
#include <ringer/sim/explore/sequence_table.hpp>

namespace ringer::sim {

/// Where an actor runs: who shares a scope with it. A NIC or a host thread shares no block and no
/// GPU with anybody: give it a number of its own.
struct Place {
  uint32_t gpu = 0;
  uint32_t cta = 0;  ///< block, counted over all GPUs
};

/// A read-modify-write. One that stores nothing (a failed compare_exchange) is a relaxed load.
struct Update {
  enum class Kind : uint8_t { add, max, exchange, compare_exchange };
  uint8_t bytes = 8;  ///< of the word
  Kind kind = Kind::add;
  uint64_t operand = 0;
  uint64_t expected = 0;  ///< compare_exchange

  bool stores(uint64_t before) const {
    return kind != Kind::compare_exchange || before == expected;
  }
  uint64_t after(uint64_t before) const;
};

/// What can be done is asked for as a number of choices; 0 is the least surprising one: the newest
/// store, the end of the order.
class MemoryModel {
 public:
  struct ActorFacts {
    std::string name;
    Place place;
  };
  /// At most `max_locations` different words; std::length_error for one more.
  MemoryModel(const std::vector<ActorFacts>& actors, uint32_t max_locations);

  /// From now on, who reads what another one has stored is a race unless the scopes of both reach.
  void require_scopes() { scopes_required_ = true; }

  /// What reports call the memory at `at`.
  void name(const void* at, size_t bytes, const std::string& text);
  std::string name_of(const void* at) const;

  /// Forgets all stores and views; names and numbers of locations stay.
  void reset();
  const void* address_of(uint32_t location) const { return address_of_[location]; }
  /// The number of the word of `bytes` at `at`. Before all stores, its value is what stands there.
  uint32_t location(const void* at, uint32_t bytes);

  uint32_t load_choices(uint32_t actor, uint32_t location) const;
  uint64_t load(uint32_t actor, uint32_t location, uint32_t choice, Scope scope, Order order);
  uint32_t store_choices(uint32_t actor, uint32_t location) const;
  void store(uint32_t actor, uint32_t location, uint32_t choice, uint64_t value, Scope scope,
             Order order);
  uint32_t update_choices(uint32_t actor, uint32_t location, const Update& update) const;
  /// Returns the value before.
  uint64_t update(uint32_t actor, uint32_t location, uint32_t choice, const Update& update,
                  Scope scope, Order order);
  void fence(uint32_t actor, Scope scope, Order order);

  /// Plain accesses in 16-byte cells. A conflicting pair of which neither happens before the other
  /// is a race: `race()` then says who and where.
  void write_data(uint32_t actor, const void* at, uint64_t bytes);
  void read_data(uint32_t actor, const void* at, uint64_t bytes);
  const std::string& race() const { return race_; }
  void forgive() { race_.clear(); }

  /// Stores are counted as they are made: the age of one is the count then. That of the one which a
  /// load or an update with this choice would read.
  uint32_t stores_made() const { return stores_made_; }
  uint32_t age_of_load(uint32_t location, uint32_t choice) const;
  uint32_t age_of_update(uint32_t actor, uint32_t location, uint32_t choice,
                         const Update& update) const;
  /// A digest of which stores to the location are younger than `age`; 0 if none is.
  uint64_t younger_than(uint32_t location, uint32_t age) const;

  /// What `actor` has seen, to take back loads that were only tried.
  struct Eyes;
  Eyes hold(uint32_t actor);
  void put_back(uint32_t actor, const Eyes& eyes);
  void let_go(const Eyes& eyes);
  /// `actor` has ended: nobody looks through its eyes any more.
  void retire(uint32_t actor) { actors_[actor].retired = true; }

  /// What the last store in the location's order has left there.
  uint64_t final_value(uint32_t location) const { return locations_[location].stores.back().value; }

  /// Who has accessed what since the model was made; for actors below 64.
  const MemoryUse& use() const { return use_; }
  /// From now on nobody is expected to access what `use` does not say. When somebody has done so,
  /// use() has grown, and digests since then may have been equal for memories that are not.
  void assume(const MemoryUse& use) { assumed_ = use; }
  const MemoryUse& assumed() const { return assumed_; }

  /// All that counts for what can follow, as long as what was assumed holds.
  struct Summary;
  void summarise(Summary& summary);
  /// Whether, where all actors stand at the same places and each word's last store has left the
  /// same, whatever can follow upon `other` can follow upon `one`: nobody knows more there. Words
  /// of summaries.
  bool covers(std::span<const uint32_t> one, std::span<const uint32_t> other) const;

  struct State;
  void save(State& state) const;
  void restore(const State& state);

 private:
  static constexpr uint32_t kLevels = 3;  // of kinship: same block, same GPU, neither
  using ViewId = uint32_t;                // of the pool; 0 knows nothing

  // A view is what one knows: by location the rank of the newest store seen of it, then by actor
  // how far its past is known. Views are shared and written only while they have one owner.
  struct Store {
    uint64_t value = 0;
    uint32_t writer = 0;
    Scope scope = Scope::sys;
    uint32_t age = 0;                       // stores made by then, itself included
    bool follows_read = false;              // of a read-modify-write: nothing may come in between
    std::array<ViewId, kLevels> message{};  // released to readers of that kinship
  };
  struct Location {
    uint32_t first_rank = 0;  // of stores[0]; older ones can be seen by nobody
    std::vector<Store> stores;
  };
  struct Actor {
    uint32_t clock = 1;
    bool retired = false;
    ViewId view = 0;
    std::array<ViewId, kLevels> released{};  // by the last release fence that reaches so far
    std::array<ViewId, kLevels> pending{};   // read relaxed: an acquire fence that reaches takes it
  };
  struct Access {
    uint32_t actor;
    uint32_t clock;  // 0: never
    bool operator==(const Access&) const = default;
  };
  // A cell of plain data is its last writer, when that was, and by actor the last read since then.
  static constexpr uint32_t kWriter = 0;
  static constexpr uint32_t kWritten = 1;
  static constexpr uint32_t kReads = 2;

  uint32_t kinship(uint32_t a, uint32_t b) const { return kinship_[a * actors_.size() + b]; }
  static bool reaches(Scope scope, uint32_t kinship) {
    return static_cast<uint32_t>(scope) >= kinship;
  }
  static bool acquires(Order order) { return order == Order::acquire || order == Order::acq_rel; }
  static bool releases(Order order) { return order == Order::release || order == Order::acq_rel; }

  const uint32_t* words(ViewId view) const { return &views_[size_t{view} * view_words_]; }
  uint32_t seen(uint32_t actor, uint32_t location) const {
    const uint32_t rank = words(actors_[actor].view)[location];
    const uint32_t first = locations_[location].first_rank;
    return rank < first ? 0 : rank - first;
  }
  static uint64_t bit_of(uint32_t actor) { return actor < 64 ? uint64_t{1} << actor : 0; }
  bool known(ViewId view, const Access& access) const {
    return words(view)[max_locations_ + access.actor] >= access.clock;
  }
  void check_alone(const void* at, uint32_t bytes) const;
  ViewId new_view();
  uint32_t* own(ViewId& view);  // to write to it
  void share(ViewId& to, ViewId from);
  void join(ViewId& into, ViewId from);

  void take(uint32_t actor, uint32_t location, uint32_t index, Scope scope, bool acquire);
  void see(uint32_t actor, uint32_t location, uint32_t index);
  void insert(uint32_t actor, uint32_t location, uint32_t index, uint64_t value, Scope scope,
              bool release, const Store* read);
  uint32_t nth_candidate(uint32_t actor, uint32_t location, const Update& update,
                         uint32_t choice) const;
  template <class F>
  void for_each_cell(const void* at, uint64_t bytes, F&& f);
  void report(uint32_t actor, uint32_t other, uint32_t cell, const char* what);

  // memory_summary.cpp
  static constexpr uint32_t kNoView = ~uint32_t{0};
  static constexpr size_t kEyes = 1 + 2 * kLevels;
  static constexpr size_t kStoreWords = 2 + kLevels;
  // An access to plain data of which not everybody knows who should.
  struct Fact {
    Access access;
    uint32_t bit;
  };
  size_t behind_words() const { return (max_locations_ + 3) / 4; }
  void forget_unseen();
  uint32_t oldest_in_reach(uint32_t location) const;
  void list_facts();
  bool matters(uint32_t cell, const Access& access, bool write) const;
  uint32_t number_of(ViewId view);
  uint32_t number_of(ViewId view, ViewId other);
  std::array<uint32_t, kStoreWords> summarise(const Store& store, const MemoryUse::Word& use,
                                              bool follows_read);
  bool within(uint32_t less, uint32_t more, std::span<const uint32_t> matter) const;
  bool covers_eyes(std::span<const uint32_t> one, std::span<const uint32_t> other,
                   std::span<const uint32_t> matter) const;
  bool covers_word(std::span<const uint32_t> one, std::span<const uint32_t> other,
                   std::span<const uint32_t> matter) const;

  struct Region {
    uintptr_t at;
    size_t bytes;
    std::string text;
  };
  // Of the program.
  std::vector<std::string> actor_names_;
  std::vector<uint32_t> kinship_;
  std::vector<Region> regions_;
  std::unordered_map<const void*, uint32_t> location_index_;
  std::vector<const void*> address_of_;  // by location
  std::vector<uint32_t> bytes_of_;
  bool scopes_required_ = false;
  std::unordered_map<uint64_t, uint32_t> cell_index_;
  std::vector<uint64_t> cell_at_;
  uint32_t max_locations_;
  uint32_t view_words_;
  uint32_t cell_words_;
  MemoryUse use_;
  MemoryUse assumed_;
  // Of the execution.
  std::vector<uint32_t> views_;   // view_words_ each
  std::vector<uint32_t> owners_;  // of each view; 0: free
  std::vector<ViewId> free_views_;
  std::vector<Actor> actors_;
  std::vector<Location> locations_;
  uint32_t stores_made_ = 0;
  std::vector<uint32_t> cells_;  // cell_words_ each
  std::string race_;
  // Of the summary under way.
  std::vector<Fact> facts_;
  std::vector<uint32_t> matter_;        // a bit for each
  std::vector<uint32_t> view_numbers_;  // by view
  std::vector<uint32_t> sequence_;      // a view
  std::vector<uint32_t> stores_;        // of a location
  SequenceTable parts_;                 // of summaries
};

/// Numbers of parts, which mean the same as long as the model is there: which accesses to plain
/// data matter; by actor, what he knows; by location, what its stores are to their readers, the
/// newest first.
struct MemoryModel::Summary {
  std::vector<uint32_t> words;

  /// Equal for memories that nobody can tell apart from here on, up to collisions of 64 bits.
  uint64_t digest() const;
};

struct MemoryModel::Eyes {
  ViewId view;
  std::array<ViewId, kLevels> pending;
};

/// A memory between two steps.
struct MemoryModel::State {
  std::vector<uint32_t> views;
  std::vector<uint32_t> owners;
  std::vector<ViewId> free_views;
  std::vector<Actor> actors;
  std::vector<Location> locations;
  uint32_t stores_made = 0;
  std::vector<uint32_t> cells;
};

}  // namespace ringer::sim
